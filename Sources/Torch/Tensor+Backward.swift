import CTorch

// The way back through the fused kernels, for training: what a loss changes by, per element of the inputs, given what it
// changes by per element of the result. Shapes: B rows, S tokens, C channels, N heads, K key-value heads, D channels of a
// head.

extension Tensor {
  /// Of `fusedRMSNorm`, where `self` is the loss's gradient by its result.
  ///
  /// The residual sum needs nothing of its own: both summands have the gradient of the sum.
  /// - Parameters:
  ///   - input: what was normed, `[…, C]` (the residual sum where there was one).
  ///   - rstd: what the forward pass left there.
  ///   - offset: what was added to the weight.
  /// - Returns: the gradients by the input, of its type, and by the weight, `[C]` float32; nil without one.
  public func fusedRMSNormBackward(input: Tensor, weight: Tensor?, rstd: Tensor, offset: Double = 0) throws
    -> (input: Tensor, weight: Tensor?)
  {
    var scale: OpaquePointer?
    let first = try Self.make(self, input, weight, rstd) { api, out in
      api.pointee.norm_backward(handle, input.handle, weight?.handle, rstd.handle, offset, &out, &scale)
    }
    return (first, try scale.map { Tensor(owning: $0, try LibTorch.api) })
  }

  /// Of `gated`, where `self` is the loss's gradient by its result.
  ///
  /// - Returns: the gradients by gate and up; nil for an up that was not there.
  public func gatedBackward(_ activation: GateActivation, gate: Tensor, up: Tensor?) throws -> (
    gate: Tensor, up: Tensor?
  ) {
    var second: OpaquePointer?
    let first = try Self.make(self, gate, up) { api, out in
      api.pointee.gate_backward(activation.code, handle, gate.handle, up?.handle, &out, &second)
    }
    return (first, try second.map { Tensor(owning: $0, try LibTorch.api) })
  }

  /// Of `rotated` without a norm: the gradient turns back by the same angles.
  public func rotatedBackward(cosine: Tensor, sine: Tensor, width: Int? = nil) throws -> Tensor {
    try rotated(cosine: cosine, sine: sine.negated(), width: width)
  }

  /// Of `fusedAttention` of as many queries as keys, without window and softcap, where `self` is the loss's gradient by its
  /// result, `[B, S, N, D]`. Scores are computed again block by block (Dao et al. 2022, arXiv 2205.14135).
  ///
  /// - Parameters:
  ///   - result: of the forward pass.
  ///   - logSumExp: what the forward pass left there, `[B, S, N]`.
  /// - Returns: the gradients by query, key and value, `[B, S, N or K, D]`. They hold with sinks, too.
  public func fusedAttentionBackward(
    query: Tensor, key: Tensor, value: Tensor, result: Tensor, logSumExp: Tensor, isCausal: Bool = true,
    scale: Double? = nil
  ) throws -> (query: Tensor, key: Tensor, value: Tensor) {
    let scale = scale ?? 1 / Double(max(query.shape.last ?? 1, 1)).squareRoot()
    var (second, third): (OpaquePointer?, OpaquePointer?) = (nil, nil)
    defer { withExtendedLifetime((result, logSumExp)) {} }
    let first = try Self.make(self, query, key, value) { api, out in
      api.pointee.attention_backward(
        handle, query.handle, key.handle, value.handle, result.handle, logSumExp.handle, isCausal, scale, &out,
        &second, &third)
    }
    let api = try LibTorch.api
    guard let second, let third else { throw TorchError("no result", operation: "fusedAttentionBackward") }
    return (first, Tensor(owning: second, api), Tensor(owning: third, api))
  }

  /// Of `fusedAttention` by its sinks `[N]`, where `self` is the loss's gradient by its result: they take their share
  /// of softmax from all keys alike.
  ///
  /// - Returns: `[N]` float32.
  public func fusedAttentionSinkBackward(sinks: Tensor, result: Tensor, logSumExp: Tensor) throws -> Tensor {
    let change = try to(.float32).multiplied(by: result.to(.float32)).sum(dims: [3])  // [B, S, N]
    let share = try sinks.to(.float32).subtracting(logSumExp).exp()
    return try share.multiplied(by: change).sum(dims: [0, 1]).negated()
  }
}
