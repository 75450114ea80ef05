import JSON

extension JSON.Object {
  /// The object with a value at the end of some keys.
  func setting(_ value: JSON, at path: ArraySlice<String>) -> JSON.Object {
    guard let key = path.first else { return self }
    var changed = self
    changed[key] =
      path.count == 1
      ? value : .object((self[key]?.object ?? JSON.Object()).setting(value, at: path.dropFirst()))
    return changed
  }

  /// The object with a section in another's place.
  ///
  /// - Parameter path: the keys that lead to it; empty for the object itself.
  func replacing(_ section: JSON.Object, at path: ArraySlice<String>) -> JSON.Object {
    guard let key = path.first else { return section }
    var changed = self
    changed[key] = .object((self[key]?.object ?? JSON.Object()).replacing(section, at: path.dropFirst()))
    return changed
  }
}
