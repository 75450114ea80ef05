import Models
import Torch

/// What the pruned model's residual stream has of the original's: some of its channels, or some directions.
struct StreamBasis {
  private let channels: Tensor?
  private let directions: Tensor?

  /// - Parameter directions: `[hidden, kept]`, orthonormal columns; nil for the channels that the selection keeps.
  init(_ selection: Selection, _ directions: Tensor?) throws {
    self.directions = try directions?.to(.float32)
    channels =
      directions == nil
      ? try selection.kept(.hidden, layer: nil).map { try Tensor($0.map(Int64.init), shape: [$0.count]) } : nil
  }

  /// Of the stream after the last layer, what a tied head makes the original's logits of as nearly as it can, up to the norm:
  /// the least squares of `own · x` for `whole · y`.
  ///
  /// - Parameters:
  ///   - whole: the original's head by its final norm's weight, `[V, hidden]`.
  ///   - own: the pruned model's, `[V, kept]`.
  static func read(by own: Tensor, for whole: Tensor) throws -> StreamBasis? {
    let (whole, own) = (try whole.to(device: .cpu).centred(), try own.to(device: .cpu).centred())
    let gram = try own.transpose(0, 1).matmul(own).to(.float64)
    let cross = try own.transpose(0, 1).matmul(whole).to(.float64)
    let ridge = try gram.diagonal().mean().item() * 1e-6
    let factor = try gram.withRidge(ridge).choleskyFactor()
    return try factor.map {
      StreamBasis(reading: try $0.choleskySolve(cross).transpose(0, 1).to(.float32).contiguous())
    }
  }

  private init(reading map: Tensor) { (channels, directions) = (nil, map) }

  /// `[…, hidden]` float32 → `[…, kept]`.
  func kept(_ stream: Tensor) throws -> Tensor {
    if let directions { return try stream.matmul(directions.to(device: stream.device)) }
    return try channels.map {
      try stream.indexSelect(dim: stream.shape.count - 1, $0.to(device: stream.device))
    } ?? stream
  }
}
