public import Models
public import Torch

/// A tensor of a model that is trained, in float32, with what its training needs.
public final class Parameter {
  /// Which tensor of the checkpoint it is.
  public struct Name: Hashable, Sendable {
    public let weight: Weight
    /// 0-based; nil outside the layers.
    public let layer: Int?
    /// 0-based, of a weight with a tensor for each expert.
    public let expert: Int?

    /// The tensor's name in the checkpoint.
    public var text: String { weight.name(layer: layer, expert: expert) }
  }

  public let name: Name
  /// As it is multiplied: `[out, in]`, however the file has it.
  public let value: Tensor
  /// What the loss of this step changes by, so far: of the value's shape; nil before the first micro-batch.
  public private(set) var gradient: Tensor?
  /// AdamW's running means of the gradient and of its square; nil before the first step.
  private(set) var moments: (means: Tensor, squares: Tensor)?

  /// - Parameter value: float32, memory of its own.
  init(_ name: Name, value: Tensor) { (self.name, self.value) = (name, value) }

  /// Weights are drawn towards zero, biases and the scales of norms are not (Megatron's rule).
  var decays: Bool { value.shape.count > 1 }

  /// Adds a micro-batch's gradient, of any type.
  func add(_ slope: Tensor) throws {
    if let gradient {
      try gradient.add(slope)
    } else {
      // Gradients may share memory with one another, or be one number everywhere.
      gradient = slope.dtype == .float32 && slope.isContiguous ? slope : try slope.to(.float32).contiguous()
    }
  }

  /// The gradient's memory, zeros to begin with: for what is added row by row.
  func gradientRows() throws -> Tensor {
    if let gradient { return gradient }
    let rows = try Tensor.zeros(value.shape, dtype: .float32, device: value.device)
    gradient = rows
    return rows
  }

  func dropGradient() { gradient = nil }

  /// The moments, zeros before the first step.
  func currentMoments() throws -> (means: Tensor, squares: Tensor) {
    if let moments { return moments }
    func zeros() throws -> Tensor { try Tensor.zeros(value.shape, dtype: .float32, device: value.device) }
    let fresh = (means: try zeros(), squares: try zeros())
    moments = fresh
    return fresh
  }

  /// Takes over what another run had come to.
  func restore(value: Tensor, means: Tensor?, squares: Tensor?) throws {
    try self.value.copy(from: value)
    guard let means, let squares else { return }
    let own = try currentMoments()
    try own.means.copy(from: means)
    try own.squares.copy(from: squares)
  }
}
