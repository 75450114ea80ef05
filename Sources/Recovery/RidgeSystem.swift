import Torch

/// X Xᵀ + λ I for several λ, and what is solved with it for all maps that read X. λ is given as a multiple of `scale`.
///
/// Shapes: N inputs, K of what makes targets.
final class RidgeSystem {
  /// The mean square of an input, times the tokens.
  let scale: Double
  /// Σ t xᵀ of the tokens that are solved with, float64.
  let targets: Tensor
  /// Σ x xᵀ and Σ t xᵀ of the tokens held back, float32.
  let held: Tensor, heldTargets: Tensor
  /// In which ridges are tried.
  let searchType: DType

  /// Σ x xᵀ of the tokens that are solved with, float64.
  private let gram: Tensor
  /// Cholesky's factors that were made last, by ridge; nil where the matrix is not positive definite.
  private var factors = Latest<Tensor?>(1)
  private var searchFactors: Latest<Tensor?>
  /// A search takes four at most; fewer are held where they are large.
  private static let bytesOfFactors = 256 << 20
  private var shared = Latest<(targets: Tensor, pull: Tensor)?>(2)

  /// - Parameter fewInputs: with more the search is in float32.
  /// - Returns: nil where nothing can be solved.
  init?(_ moments: DividedMoments, fewInputs: Int) throws {
    let solved = moments.solved
    guard solved.tokens > 0, moments.heldBack.tokens > 0, try solved.targets.sum().item().isFinite else { return nil }
    gram = try solved.inputs
    scale = try gram.diagonal().mean().item()
    guard try gram.sum().item().isFinite, scale > 0, scale.isFinite else { return nil }
    targets = solved.targets
    held = try moments.heldBack.inputs.to(.float32)
    heldTargets = try moments.heldBack.targets.to(.float32)
    let inputs = gram.shape[0]
    searchType = inputs > fewInputs ? .float32 : .float64
    searchFactors = Latest(min(max(Self.bytesOfFactors / (inputs * inputs * searchType.byteCount), 1), 4))
  }

  /// Lets large factors of the search go.
  func makeRoom() throws {
    guard searchFactors.count < 4 else { return }
    searchFactors.clear()
    try LibTorch.releaseMemory()
  }

  /// Cholesky's factor in float64.
  func factor(_ ridge: Double) throws -> Tensor? {
    if searchType == .float64 { return try searched(ridge) }
    return try factors.get(ridge) { try gram.withRidge(ridge * scale).choleskyFactor() }
  }

  /// Cholesky's factor in the type of the search.
  func searched(_ ridge: Double) throws -> Tensor? {
    try searchFactors.get(ridge) { try gram.to(searchType).withRidge(ridge * scale).choleskyFactor() }
  }

  /// With A = X Xᵀ + λ I: targets · A⁻¹ `[K, N]` and λ A⁻¹ `[N, N]`, float32 of what is solved in float64. For a map T of targets and
  /// weights S that it is drawn to, (T · targets + λ S) A⁻¹ is `T · first + S · second`.
  ///
  /// - Parameter targets: `[K, N]` float64, the same at every call.
  func shared(_ ridge: Double, _ targets: Tensor) throws -> (targets: Tensor, pull: Tensor)? {
    try shared.get(ridge) {
      guard let factor = try factor(ridge) else { return nil }
      func solved(_ right: Tensor) throws -> Tensor {
        try factor.choleskySolve(right.transpose(0, 1)).transpose(0, 1).to(.float32).contiguous()
      }
      let size = gram.shape[0]
      return (try solved(targets), try solved(Tensor.zeros([size, size], dtype: .float64).withRidge(ridge * scale)))
    }
  }
}

/// The few things that were made last, by number.
private struct Latest<Value> {
  let count: Int
  private var values: [(number: Double, value: Value)] = []

  init(_ count: Int) { self.count = count }

  mutating func clear() { values = [] }

  mutating func get(_ number: Double, _ make: () throws -> Value) rethrows -> Value {
    let found =
      try values.first { $0.number == number }
      ?? {
        // What goes makes room before its successor is there.
        if values.count == count { values.removeFirst() }
        return (number, try make())
      }()
    values.removeAll { $0.number == number }
    values.append(found)
    return found.value
  }
}

extension Tensor {
  /// A copy of `[N, N]` with a number added to its diagonal.
  func withRidge(_ ridge: Double) throws -> Tensor {
    let (size, sum) = (shape[0], try contiguous().clone())
    let flat = try sum.reshape([size * size])
    // Rows of N + 1 numbers, and a last one, begin with the diagonal.
    if size > 1 {
      try flat.narrow(dim: 0, start: 0, length: size * size - 1).view([size - 1, size + 1])
        .narrow(dim: 1, start: 0, length: 1).add(ridge)
    }
    try flat.narrow(dim: 0, start: size * size - 1, length: 1).add(ridge)
    return sum
  }

  /// `[N]` of `[N, N]`.
  func diagonal() throws -> Tensor {
    let size = shape[0]
    let places = try Tensor((0..<size).map { Int64($0 * (size + 1)) }, shape: [size]).to(device: device)
    return try contiguous().reshape([size * size]).indexSelect(dim: 0, places)
  }
}
