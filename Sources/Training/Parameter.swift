import Files
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
  public let shape: [Int]
  /// Where it is computed with.
  let device: Device
  /// Where its numbers are.
  private let places: Places
  private var storedValue: Stored
  private var storedGradient: Stored?
  private var storedMoments: (means: Stored, squares: Stored)?

  /// Elements that the optimizer moves at once: a multiple of all widths of vectors.
  private static let elementsAtOnce = 1 << 24

  /// What of a parameter is on disk; what is not is in memory.
  struct Places {
    var file: ScratchFile?
    var value = false, gradient = false, moments = false
  }

  /// - Parameter value: float32, memory of its own.
  init(_ name: Name, value: Tensor, places: Places = Places()) throws {
    (self.name, self.places, shape, device) = (name, places, value.shape, value.device)
    storedValue = try Stored(value, in: places.value ? places.file : nil)
  }

  var elementCount: Int { shape.reduce(1, *) }

  /// Weights are drawn towards zero, biases and the scales of norms are not (Megatron's rule).
  var decays: Bool { shape.count > 1 }

  /// As it is multiplied: `[out, in]`, however the file has it. Not to be changed.
  public func value() throws -> Tensor { try storedValue.tensor() }

  /// Whether `value` reads it from disk.
  var isOnDisk: Bool { storedValue.isOnDisk }

  func set(value: Tensor) throws { try storedValue.set(value) }

  // MARK: Gradients

  /// What the loss of this step changes by, so far: of the value's shape; nil before the first micro-batch. Not to be changed.
  public func gradient() throws -> Tensor? { try storedGradient?.tensor() }

  public var hasGradient: Bool { storedGradient != nil }

  /// Adds a micro-batch's gradient, of any type.
  func add(_ slope: Tensor) throws {
    if let storedGradient {
      let own = try slope.to(device: device)
      try storedGradient.change { try $0.add(own) }
    } else {
      // Gradients may share memory with one another, or be one number everywhere.
      let own = try slope.to(device: device).to(.float32).contiguous()
      storedGradient = try Stored(own, in: places.gradient ? places.file : nil)
    }
  }

  /// Adds to the gradient row by row: it is zero to begin with.
  func addToGradient(_ body: (Tensor) throws -> Void) throws {
    let stored =
      try storedGradient ?? Stored(zeros: shape, on: device, in: places.gradient ? places.file : nil)
    storedGradient = stored
    try stored.change(body)
  }

  func dropGradient() {
    storedGradient?.end()
    storedGradient = nil
  }

  // MARK: Moments

  /// AdamW's running means of the gradient and of its square; nil before the first step.
  func moments() throws -> (means: Tensor, squares: Tensor)? {
    guard hasMoved, let storedMoments else { return nil }
    return (try storedMoments.means.tensor(), try storedMoments.squares.tensor())
  }

  private func momentsToChange() throws -> (means: Stored, squares: Stored) {
    let file = places.moments ? places.file : nil
    func zeros() throws -> Stored { try Stored(zeros: shape, on: device, in: file) }
    let moments = try storedMoments ?? (zeros(), zeros())
    storedMoments = moments
    return moments
  }

  /// Takes room on disk for moments that will be there: that a disk is full is found before the first step.
  func reserveMoments() throws { if places.moments { _ = try momentsToChange() } }

  /// Whether a step has been taken.
  private(set) var hasMoved = false

  /// One step of AdamW. The gradient is used up.
  ///
  /// - Parameter factor: on the gradient; nil for one.
  func move(by rule: AdamWRule, step: Int, factor: Double?) throws {
    guard let gradient = storedGradient else { return }
    let moments = try momentsToChange()
    hasMoved = true
    let all = elementCount
    for start in stride(from: 0, to: all, by: Self.elementsAtOnce) {
      let part = start..<min(start + Self.elementsAtOnce, all)
      let slope = try gradient.part(part)
      if let factor { try slope.multiply(by: factor) }
      try storedValue.change(part) { value in
        try moments.means.change(part) { means in
          try moments.squares.change(part) { squares in
            try Tensor.applyAdamW(
              [value], gradients: [slope], means: [means], squares: [squares], rule: rule, step: step)
          }
        }
      }
    }
  }

  /// Takes over what another run had come to.
  func restore(value: Tensor, means: Tensor?, squares: Tensor?) throws {
    try set(value: value)
    guard let means, let squares else { return }
    let own = try momentsToChange()
    hasMoved = true
    try own.means.set(means)
    try own.squares.set(squares)
  }
}
