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

  /// `[…, hidden]` float32 → `[…, kept]`.
  func kept(_ stream: Tensor) throws -> Tensor {
    if let directions { return try stream.matmul(directions) }
    return try channels.map { try stream.indexSelect(dim: stream.shape.count - 1, $0) } ?? stream
  }
}
