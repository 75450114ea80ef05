/// One weight of a family: its Hugging Face name and its axes. Everything else (strict loading, counts,
/// the search space, slicing, export) is derived from here and from no other place.
public struct Weight: Sendable, Hashable {
  /// The tensor's name, with `{layer}` where the 0-based layer number goes.
  public let name: String
  public let axes: [Axis]

  public init(_ name: String, _ axes: [Axis]) {
    self.name = name
    self.axes = axes
  }

  /// The tensor's name in layer `layer` (0-based).
  public func name(layer: Int) -> String {
    guard let range = name.firstRange(of: "{layer}") else { return name }
    return name.replacingCharacters(in: range, with: String(layer))
  }

  public func shape(_ sizes: Sizes) -> [Int] { axes.map { $0.size(sizes) } }
  public func elementCount(_ sizes: Sizes) -> Int { axes.reduce(1) { $0 * $1.size(sizes) } }
}

extension String {
  fileprivate func replacingCharacters(in range: Range<Index>, with text: String) -> String {
    String(self[..<range.lowerBound]) + text + String(self[range.upperBound...])
  }
}
