/// One weight of a family: its Hugging Face name and its axes. Everything else (strict loading, counts,
/// the search space, slicing, export) is derived from here and from no other place.
public struct Weight: Sendable, Hashable {
  /// The tensor's name, with `{layer}` where the 0-based layer number goes. With `{expert}` in it the weight is
  /// stored as one tensor for each index of its first axis; the remaining axes are those of the tensors.
  public let name: String
  public let axes: [Axis]
  /// Always computed in float32 (routers).
  public let computesInFloat32: Bool
  /// Stored turned, last axis first (GPT-2's `Conv1D`); turned as it is read, and back as it is written.
  public let isStoredTransposed: Bool
  /// Only ever an operand of a linear map, so it may be put into the order that products are quickest in.
  public let isProjection: Bool
  /// The axis on which the weight meets the residual stream as a norm gives it (a projection's input); nil for none.
  public let readsAxis: Int?
  /// The axis of what the weight adds to the residual stream (a projection's output, its bias); nil for none.
  public let writesAxis: Int?

  public init(
    _ name: String, _ axes: [Axis], computesInFloat32: Bool = false, isProjection: Bool = false, reads: Int? = nil,
    writes: Int? = nil, isStoredTransposed: Bool = false
  ) {
    self.name = name
    self.axes = axes
    self.computesInFloat32 = computesInFloat32
    self.isProjection = isProjection
    self.isStoredTransposed = isStoredTransposed
    (readsAxis, writesAxis) = (reads, writes)
  }

  /// The same weight under another name.
  func renamed(_ name: String) -> Weight {
    Weight(
      name, axes, computesInFloat32: computesInFloat32, isProjection: isProjection, reads: readsAxis,
      writes: writesAxis,
      isStoredTransposed: isStoredTransposed)
  }

  /// Whether each expert has a tensor of its own.
  public var isPerExpert: Bool { name.contains("{expert}") }

  /// The name of the tensor in layer `layer` and of expert `expert` (both 0-based).
  public func name(layer: Int?, expert: Int? = nil) -> String {
    var name = name
    if let layer { name.fill("{layer}", with: layer) }
    if let expert { name.fill("{expert}", with: expert) }
    return name
  }

  /// The tensors that hold this weight: one, or one an expert.
  public func tensors(layer: Int?, sizes: Sizes) -> [(name: String, shape: [Int])] {
    parts(sizes).map { (name(layer: layer, expert: $0.expert), asStored($0.shape)) }
  }

  /// The same without names, in the shapes that are multiplied; the expert is nil for one of all.
  public func parts(_ sizes: Sizes) -> [(expert: Int?, shape: [Int])] {
    let shape = shape(sizes)
    guard isPerExpert else { return [(nil, shape)] }
    return (0..<(shape.first ?? 0)).map { ($0, Array(shape.dropFirst())) }
  }

  /// What belongs to each axis, in the order in which the file has them.
  public func asStored<Element>(_ axes: [Element]) -> [Element] { isStoredTransposed ? axes.reversed() : axes }

  /// The sizes of all axes, experts included.
  public func shape(_ sizes: Sizes) -> [Int] { axes.map { $0.size(sizes) } }
  public func elementCount(_ sizes: Sizes) -> Int { axes.reduce(1) { $0 * $1.size(sizes) } }
}

extension String {
  fileprivate mutating func fill(_ placeholder: String, with number: Int) {
    guard let range = firstRange(of: placeholder) else { return }
    self = String(self[..<range.lowerBound]) + String(number) + String(self[range.upperBound...])
  }
}
