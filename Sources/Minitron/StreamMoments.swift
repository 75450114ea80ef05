import Execution
import Messages
import Models
import Torch

// Shapes: B rows, S tokens, T valid tokens, H hidden.

/// Second moments of the residual stream as norms see it: Σ over tokens and norms of x xᵀ, x divided by its root mean
/// square and not yet multiplied by a norm's weight.
///
/// What is multiplied is of the stream's type, as the norm itself gives it. Sums in float32 of one batch at one norm are rounded to multiples of `grain` and added in float64. Sums of
/// such numbers are exact, so that they depend neither on the order of batches nor on how these were divided among processes.
final class StreamMoments {
  private let hidden: Int
  /// `[H, H]` float64; of blocks below the diagonal nothing is computed.
  private var sums: Tensor?

  init(hidden: Int) { self.hidden = hidden }

  /// A token's x xᵀ is at most H: 2³⁹ in all are exact, a billion tokens at average values.
  private static let grain = 1.0 / Double(1 << 14)
  /// Adding and subtracting this rounds a float64 number to multiples of the grain.
  private static let rounding = 1.5 * Double(1 << 52) * grain

  /// Adds a batch.
  ///
  /// - Parameters:
  ///   - stream: `[B, S, H]`.
  ///   - epsilon: of the norm that it goes into.
  ///   - lengths: valid tokens of each row; nil where all are.
  func add(_ stream: Tensor, epsilon: Double, lengths: [Int]?) throws {
    let normed = try stream.valid(lengths).fusedRMSNorm(weight: nil, eps: epsilon)
    let device = stream.device
    // Apple's accelerators have no float64.
    let home = device == .mps ? Device.cpu : device
    let total = try sums?.to(device: home) ?? .zeros([hidden, hidden], dtype: .float64, device: home)
    sums = total
    try TokenProducts.add(normed, normed, to: total, rounding: Self.rounding)
  }

  /// The upper triangle, row after row; empty before the first batch.
  func packed() throws -> [Double] {
    guard let values = try sums?.to(device: .cpu).doubles() else { return [] }
    var packed: [Double] = []
    packed.reserveCapacity(hidden * (hidden + 1) / 2)
    for row in 0..<hidden { packed += values[row * hidden + row..<(row + 1) * hidden] }
    return packed
  }

  /// Starts from what `packed` gave.
  ///
  /// - Throws: `ModelError` when it is of another number of channels.
  func restore(_ packed: [Double]) throws {
    sums = try packed.isEmpty ? nil : whole(packed)
  }

  /// Both triangles, `[H, H]`.
  private func whole(_ packed: [Double]) throws -> Tensor {
    guard packed.count == hidden * (hidden + 1) / 2 else {
      throw ModelError("second moments of the residual stream are of other than \(hidden) channels")
    }
    var values = [Double](repeating: 0, count: hidden * hidden)
    var next = 0
    for row in 0..<hidden {
      for column in row..<hidden {
        (values[row * hidden + column], values[column * hidden + row]) = (packed[next], packed[next])
        next += 1
      }
    }
    return try values.withUnsafeBytes { try Tensor(bytes: $0, shape: [hidden, hidden], dtype: .float64) }
  }

  /// The eigenvectors, those with the largest eigenvalues first, each with its largest component positive.
  ///
  /// - Throws: `ModelError` when activations were not finite, or none was seen.
  func principalDirections() throws -> PrincipalDirections {
    let packed = try packed()
    guard !packed.isEmpty else { throw ModelError("nothing was observed of the residual stream") }
    guard packed.allSatisfy(\.isFinite) else {
      throw ModelError(
        message: """
          the residual stream holds NaN or infinite values; the weights are damaged, or the type computed with is too \
          narrow (try \(parameter: "compute_dtype") float32)
          """)
    }
    let matrix = try whole(packed)
    var found: (values: Tensor, vectors: Tensor)?
    // On one thread: how many there are would show in the last digits.
    try LibTorch.parallel(2) { if $0 == 0 { found = try matrix.symmetricEigenvectors() } }
    guard let found else { throw ModelError("the eigenvectors of the residual stream were not computed") }
    let values = try found.values.flip([0]).clamp(min: 0)
    let vectors = try found.vectors.flip([1]).contiguous()
    let largest = try vectors.abs().argmax(dim: 0, keepDim: true)
    let signs = try vectors.gather(dim: 0, index: largest).ge(0).to(.float64).multiplied(by: 2).subtracting(1)
    let total = try max(values.sum().item(), .leastNormalMagnitude)
    return PrincipalDirections(
      directions: try vectors.multiplied(by: signs).to(.float32).floats(),
      shares: try values.divided(by: total).to(.float32).floats())
  }
}

/// Directions of the residual stream, those that hold most of it first.
public struct PrincipalDirections: Sendable, Equatable {
  /// `[H, H]` row after row, a direction in each column.
  public let directions: [Float]
  /// The part of the stream's energy that each has, of one.
  public let shares: [Float]
}
