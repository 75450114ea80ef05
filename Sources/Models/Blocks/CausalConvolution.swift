import Torch

// Shapes: B rows, S tokens, C channels.

/// A convolution over the last few tokens, channel by channel.
struct CausalConvolution {
  /// `[C, 1, conv_kernel]`.
  let kernel: Weight
  private let bias: Weight?

  /// - Parameters:
  ///   - name: without `.weight`.
  ///   - channels: its axis.
  ///   - bias: whether it has one.
  init(_ name: String, channels: Axis, bias: Bool) {
    kernel = Weight(name + ".weight", [channels, .one, .convKernel])
    self.bias = bias ? Weight(name + ".bias", [channels]) : nil
  }

  var weights: [Weight] { [kernel, bias].compactMap { $0 } }

  /// `[B, S, C]` → `[B, S, C]` float32, and a view of the inputs that the next tokens need.
  ///
  /// A kernel of a few tokens is as many scaled sums of shifted inputs: where they lie, without the transposed copies
  /// that convolution operators want, in a tenth of their time.
  ///
  /// - Parameter tail: the inputs of the tokens before, `[B, conv_kernel − 1, C]`; nil for none.
  func forward(_ x: Tensor, after tail: Tensor?, weights: LayerWeights) throws -> (Tensor, tail: Tensor) {
    let kernel = try weights[kernel].to(.float32).squeeze(1).transpose(0, 1).contiguous()  // [conv_kernel, C]
    let reach = kernel.shape[0] - 1
    let tokens = x.shape[1]
    // What comes before the first token is zero.
    let history = try tail ?? Tensor.zeros([x.shape[0], reach, x.shape[2]], dtype: x.dtype, device: x.device)
    let padded = try Tensor.cat([history, x], dim: 1)
    let wide = try padded.to(.float32)
    func shifted(_ by: Int) throws -> Tensor { try wide.narrow(dim: 1, start: by, length: tokens) }
    let y = try shifted(0).multiplied(by: kernel.select(dim: 0, index: 0))
    for offset in 0..<reach { try y.addProduct(shifted(offset + 1), kernel.select(dim: 0, index: offset + 1)) }
    if let bias = try weights[optional: bias] { try y.add(bias.to(.float32)) }
    return (y, try padded.narrow(dim: 1, start: tokens, length: reach))
  }
}
