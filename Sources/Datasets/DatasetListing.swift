import Files

/// The files of a place, to be chosen from by patterns.
///
/// Listings may be long (a million files) and patterns many: paths are only matched that have the plain characters of a
/// pattern, and those are looked for once.
final class DatasetListing {
  /// By their paths' bytes.
  let files: [DatasetFile]
  private var holding: [[UInt8]: [Int]] = [:]

  /// - Throws: `DatasetError` for a path that leads out of the place.
  init(_ place: any DatasetPlace) throws {
    files = try place.listing().sorted { isBefore($0.path, $1.path) }
    for file in files {
      let parts = file.path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
      let isFine = parts.allSatisfy { part in
        !part.isEmpty && !part.elementsEqual(".".utf8) && !part.elementsEqual("..".utf8) && !part.contains(0)
      }
      guard isFine else {
        throw DatasetError("\(place.name) lists \(file.path.debugDescription), which is no path of a file in it")
      }
    }
  }

  /// Never data, unless a pattern names them.
  private static let ignored: Set<String> = [
    "README.md", "config.json", "dataset_info.json", "dataset_infos.json", "dummy_data.zip", "dataset_dict.json",
  ]

  static func isIgnored(_ path: String) -> Bool {
    ignored.contains(lastName(path)) || path.hasPrefix(".") || path.contains("/.")
  }

  /// The files that match, in order. Files and directories whose names begin with a dot, and directories whose names begin
  /// with two underscores, only where the pattern has as many such names.
  ///
  /// Source: `resolve_pattern` of `datasets` 5.2.0.
  func matching(_ glob: Glob) -> [DatasetFile] {
    let own = lastName(glob.pattern)
    let isHidden = { (name: Substring) in name.hasPrefix(".") && !name.allSatisfy { $0 == "." } }
    let isSpecial = { (name: Substring) in name.hasPrefix("__") }
    let hidden = Glob.count(glob.pattern, directoriesOnly: false, isHidden)
    let special = Glob.count(glob.pattern, directoriesOnly: true, isSpecial)
    return candidates(glob.literal).map { files[$0] }.filter { file in
      let name = lastName(file.path)
      return glob.matches(file.path) && (name == own || !Self.ignored.contains(name))
        && Glob.count(file.path, directoriesOnly: false, isHidden) == hidden
        && Glob.count(file.path, directoriesOnly: true, isSpecial) == special
    }
  }

  private func candidates(_ literal: [UInt8]) -> [Int] {
    if let known = holding[literal] { return known }
    let found = files.indices.filter { Self.contains(files[$0].path.utf8, literal) }
    // Some patterns of a card are asked for once each; those of the layouts again and again.
    if holding.count < 256 { holding[literal] = found }
    return found
  }

  private static func contains(_ path: String.UTF8View, _ literal: [UInt8]) -> Bool {
    guard let first = literal.first else { return true }
    let found = path.withContiguousStorageIfAvailable { bytes -> Bool in
      guard bytes.count >= literal.count else { return false }
      for start in 0...(bytes.count - literal.count) where bytes[start] == first {
        if (1..<literal.count).allSatisfy({ bytes[start + $0] == literal[$0] }) { return true }
      }
      return false
    }
    return found ?? Array(path).contains(literal)
  }
}
