/// A list for each place where one may differ: of scores of a dimension's indices, or of the indices that are kept.
public enum ScopedLists<Element> {
  /// One for the whole model.
  case everywhere([Element])
  /// By original layer (0-based); nil for a layer that does not have the dimension.
  case byLayer([[Element]?])
  /// By original layer (nil without experts) and original expert: each ranks its own.
  case byExpert([[[Element]]?])

  /// The list of the whole model; nil where places have their own.
  public var everywhere: [Element]? { if case .everywhere(let list) = self { list } else { nil } }
  /// A list for each layer; nil where there is one for all, or experts have their own.
  public var byLayer: [[Element]?]? { if case .byLayer(let lists) = self { lists } else { nil } }
  /// A list for each expert of each layer; nil where experts share one.
  public var byExpert: [[[Element]]?]? { if case .byExpert(let lists) = self { lists } else { nil } }

  /// The list that holds in a layer (nil: outside the layers) and, where experts differ, for an expert; nil where there
  /// is none.
  public func list(layer: Int?, expert: Int? = nil) -> [Element]? {
    switch self {
    case .everywhere(let list): return list
    case .byLayer(let lists):
      guard let layer, lists.indices.contains(layer) else { return nil }
      return lists[layer]
    case .byExpert(let lists):
      guard let layer, let expert, lists.indices.contains(layer), let own = lists[layer], own.indices.contains(expert)
      else { return nil }
      return own[expert]
    }
  }

  /// All lists that hold in a layer: none, one, or one for each expert.
  public func lists(inLayer layer: Int) -> [[Element]] {
    switch self {
    case .everywhere(let list): [list]
    case .byLayer(let lists): lists.indices.contains(layer) ? lists[layer].map { [$0] } ?? [] : []
    case .byExpert(let lists): lists.indices.contains(layer) ? lists[layer] ?? [] : []
    }
  }

  /// The same places with lists that are made of these.
  ///
  /// - Parameter transform: also gets the original layer; nil where one list holds everywhere.
  public func map<Other>(_ transform: (_ list: [Element], _ layer: Int?) throws -> [Other]) rethrows
    -> ScopedLists<Other>
  {
    switch self {
    case .everywhere(let list): .everywhere(try transform(list, nil))
    case .byLayer(let lists):
      .byLayer(try lists.enumerated().map { layer, list in try list.map { try transform($0, layer) } })
    case .byExpert(let lists):
      .byExpert(
        try lists.enumerated().map { layer, own in try own.map { try $0.map { try transform($0, layer) } } })
    }
  }
}

extension ScopedLists: Sendable where Element: Sendable {}
extension ScopedLists: Equatable where Element: Equatable {}
extension ScopedLists: Hashable where Element: Hashable {}
