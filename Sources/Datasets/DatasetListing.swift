import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

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
    let listed = try place.listing()
    for file in listed where !Self.isPath(file.path) {
      throw DatasetError("\(place.name) lists \(file.path.debugDescription), which is no path of a file in it")
    }
    // Most come in order.
    let isOrdered = zip(listed, listed.dropFirst()).allSatisfy { Self.compare($0.path, $1.path) <= 0 }
    files = isOrdered ? listed : listed.sorted { Self.compare($0.path, $1.path) < 0 }
  }

  /// Names joined by slashes, none of them empty, `.` or `..`.
  private static func isPath(_ path: String) -> Bool {
    var path = path
    return path.withUTF8 { bytes in
      var start = 0
      for at in 0...bytes.count {
        guard at == bytes.count || bytes[at] == UInt8(ascii: "/") else {
          if bytes[at] == 0 { return false }
          continue
        }
        let isDots = at - start <= 2 && bytes[start..<at].allSatisfy { $0 == UInt8(ascii: ".") }
        if isDots { return false }
        start = at + 1
      }
      return true
    }
  }

  /// By bytes: below zero where `a` comes first.
  private static func compare(_ a: String, _ b: String) -> Int {
    var (a, b) = (a, b)
    return a.withUTF8 { a in
      b.withUTF8 { b in
        let common = min(a.count, b.count)
        // An empty buffer may have no address.
        guard common > 0, let left = a.baseAddress, let right = b.baseAddress else { return a.count - b.count }
        let order = Int(memcmp(left, right, common))
        return order != 0 ? order : a.count - b.count
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
      guard glob.matches(file.path) else { return false }
      let name = lastName(file.path)
      guard name == own || !Self.ignored.contains(name) else { return false }
      // Names like these are rare, and counting them is slow.
      if hidden == 0, special == 0, !Self.contains(file.path, [UInt8(ascii: "_"), UInt8(ascii: "_")]),
        file.path.utf8.first != UInt8(ascii: "."), !Self.contains(file.path, Array("/.".utf8))
      {
        return true
      }
      return Glob.count(file.path, directoriesOnly: false, isHidden) == hidden
        && Glob.count(file.path, directoriesOnly: true, isSpecial) == special
    }
  }

  private func candidates(_ literal: [UInt8]) -> [Int] {
    if let known = holding[literal] { return known }
    let found = files.indices.filter { Self.contains(files[$0].path, literal) }
    // Some patterns of a card are asked for once each; those of the layouts again and again.
    if holding.count < 256 { holding[literal] = found }
    return found
  }

  private static func contains(_ path: String, _ literal: [UInt8]) -> Bool {
    guard let first = literal.first else { return true }
    var path = path
    return path.withUTF8 { bytes in
      guard let start = bytes.baseAddress, bytes.count >= literal.count else { return false }
      for at in 0...(bytes.count - literal.count) where bytes[at] == first {
        if memcmp(start + at, literal, literal.count) == 0 { return true }
      }
      return false
    }
  }
}
