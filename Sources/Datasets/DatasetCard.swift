import Files

/// What the card of a data set (README.md) says of its files: `configs` in the YAML at its start.
///
/// Source: the hub's "Data files configuration", as `datasets` 5.2.0 reads it (`utils/metadata.py`).
package struct DatasetCard: Sendable {
  package struct Config: Sendable {
    package let name: String
    /// Patterns by split, in the card's order; nil where the directory's own layout says it.
    package let dataFiles: [(split: String, patterns: [String])]?
    /// Below which the patterns are meant.
    package let directory: String?
    package let isDefault: Bool
    let options: ReadOptions
  }

  static let maximumSize = 16 << 20
  private static let maximumFrontMatter = 4 << 20

  /// In the card's order; none where it does not speak of them.
  package let configs: [Config]

  /// Options of `datasets`' readers that change rows and are not known here.
  private static let unread: Set<String> = [
    "names", "column_names", "header", "index_col", "usecols", "skiprows", "nrows", "na_values", "keep_default_na",
    "na_filter", "lineterminator", "quotechar", "quoting", "escapechar", "comment", "encoding", "skipfooter",
    "skip_blank_lines", "filters", "sample_by", "keep_linebreaks",
  ]

  /// - Parameter place: what messages call the data set.
  /// - Throws: `DatasetError` for `configs` that cannot be read or mean nothing.
  package init(_ bytes: [UInt8], place: String) throws {
    guard let (lines, first) = Self.frontMatter(bytes) else {
      configs = []
      return
    }
    guard lines.reduce(0, { $0 + $1.utf8.count }) <= Self.maximumFrontMatter else {
      throw DatasetError("\(place): the YAML in README.md has more than \(Self.maximumFrontMatter) bytes")
    }
    let yaml: CardYAML
    do throws(CardYAMLFailure) {
      guard let (part, number) = Self.configLines(lines, first) else {
        configs = []
        return
      }
      yaml = try CardYAML(lines: part, first: number)
    } catch {
      throw DatasetError(
        "\(place): README.md, line \(error.line): \"configs\" cannot be read: \(error.message). Name the files themselves, "
          + "or correct it")
    }
    guard let value = yaml["configs"], !value.isNull else {
      configs = []
      return
    }
    guard case .list(let items) = value else {
      throw DatasetError("\(place): \"configs\" in README.md is \(value.kind), where a list should be")
    }
    // The last of a name counts, at the place of the first, as in a Python dictionary.
    var configs: [Config] = []
    for item in items {
      let config = try Self.config(item, place)
      if let at = configs.firstIndex(where: { $0.name == config.name }) {
        configs[at] = config
      } else {
        configs.append(config)
      }
    }
    self.configs = configs
  }

  /// The lines between the first two of `---`, and the number of the first of them.
  private static func frontMatter(_ bytes: [UInt8]) -> (lines: [Substring], first: Int)? {
    guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
    let lines = text.unicodeScalars.splitLines()
    guard let opening = lines.firstIndex(where: { !$0.allSatisfy(\.isWhitespace) }) else { return nil }
    guard lines[opening].drop(while: \.isWhitespace) == "---" else { return nil }
    let rest = lines[(opening + 1)...]
    let isClosing = { (line: Substring) in
      line.hasPrefix("---") && line.dropFirst(3).allSatisfy { $0 == " " || $0 == "\t" }
    }
    guard let closing = rest.firstIndex(where: isClosing) else { return nil }
    return (Array(lines[(opening + 1)..<closing]), opening + 2)
  }

  /// The lines of `configs` alone: whatever else stands in a card need not be understood.
  private static func configLines(_ lines: [Substring], _ first: Int) -> (lines: [Substring], first: Int)? {
    let isText = { (line: Substring) in line.first.map { !" \t#".contains($0) } ?? false }
    guard let start = lines.firstIndex(where: isText) else { return nil }
    if lines[start].first == "{" { return (lines, first) }
    let starts = lines.indices.filter { at in
      ["configs:", "\"configs\":", "'configs':"].contains { key in
        lines[at].hasPrefix(key)
          && (lines[at].utf8.count == key.utf8.count || lines[at].dropFirst(key.count).first == " ")
      }
    }
    guard let own = starts.last else { return nil }
    let end = lines[(own + 1)...].firstIndex { isText($0) && !$0.hasPrefix("-") && !$0.hasPrefix("]") } ?? lines.count
    return (Array(lines[own..<end]), first + own)
  }

  private static func config(_ item: CardYAML, _ place: String) throws -> Config {
    guard case .map(let entries) = item, let name = item["config_name"]?.text else {
      throw DatasetError("\(place): an entry of \"configs\" in README.md has no \"config_name\"")
    }
    func wrong(_ reason: String) -> DatasetError {
      DatasetError("\(place): the configuration \"\(name)\" in README.md: \(reason)")
    }
    for entry in entries where unread.contains(entry.key) && !entry.value.isNull {
      throw wrong(
        "its option \"\(entry.key)\" is not known here, and changes what the rows are; name the files themselves")
    }
    func text(_ key: String) throws -> String? {
      guard let value = item[key], !value.isNull else { return nil }
      guard let text = value.text else { throw wrong("\"\(key)\" is \(value.kind), where a text should be") }
      return text
    }
    var options = ReadOptions(field: try text("field"))
    if let separator = try text("delimiter") ?? text("sep") {
      guard separator.utf8.count == 1, let byte = separator.utf8.first, byte != 0x0A, byte != 0x0D else {
        throw wrong("the separator \"\(separator)\" is not a single character")
      }
      options.separator = byte
    }
    return Config(
      name: name, dataFiles: try item["data_files"].flatMap { try dataFiles($0, wrong) },
      directory: try text("data_dir"), isDefault: item["default"]?.isTrue ?? false, options: options)
  }

  private static func dataFiles(
    _ value: CardYAML, _ wrong: (String) -> DatasetError
  ) throws -> [(split: String, patterns: [String])]? {
    let wanted = "\"data_files\" should be a pattern, a list of them, or a list of {split, path}"
    if value.isNull { return nil }
    if let pattern = value.text { return [("train", [pattern])] }
    guard case .list(let items) = value else { throw wrong(wanted) }
    if items.allSatisfy({ $0.text != nil }) { return [("train", items.compactMap(\.text))] }
    var found: [(split: String, patterns: [String])] = []
    for item in items {
      guard case .map(let entries) = item, entries.count == 2, let split = item["split"]?.text, let path = item["path"]
      else { throw wrong(wanted) }
      guard isSplitName(split) else { throw wrong("\"\(split)\" is no name of a split: letters, digits and _ are") }
      guard !found.contains(where: { $0.split == split }) else {
        throw wrong("the split \"\(split)\" stands there twice")
      }
      if let pattern = path.text {
        found.append((split, [pattern]))
      } else if case .list(let paths) = path, paths.allSatisfy({ $0.text != nil }) {
        found.append((split, paths.compactMap(\.text)))
      } else {
        throw wrong(wanted)
      }
    }
    return found
  }

  /// The configuration that is meant where none is named; nil where the card leaves it open.
  func defaultConfig(_ place: String) throws -> Config? {
    let chosen = configs.filter { configs.count == 1 || $0.name == "default" || $0.isDefault }
    guard chosen.count <= 1 else {
      throw DatasetError(
        "\(place): README.md has several default configurations, \(list(chosen.map(\.name))); "
          + "name one as \(place)[\(chosen[0].name)]")
    }
    return chosen.first
  }
}

/// Words, joined by dots.
func isSplitName(_ name: String) -> Bool {
  name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { part in
    !part.isEmpty
      && part.unicodeScalars.allSatisfy { scalar in
        scalar == "_" || scalar.properties.isAlphabetic || scalar.properties.numericType != nil
      }
  }
}

extension Sequence<Unicode.Scalar> {
  /// Lines that end in `\n`, `\r\n` or `\r`. (As a `Character`, `\r\n` is one.)
  fileprivate func splitLines() -> [Substring] {
    var lines: [Substring] = []
    var line = String.UnicodeScalarView()
    var wasReturn = false
    for scalar in self {
      let isFeed = scalar == "\n"
      if isFeed && wasReturn {
        wasReturn = false
        continue
      }
      wasReturn = scalar == "\r"
      if isFeed || wasReturn {
        lines.append(Substring(String(line)))
        line = String.UnicodeScalarView()
      } else {
        line.append(scalar)
      }
    }
    lines.append(Substring(String(line)))
    return lines
  }
}

extension DatasetCard {
  init(configs: [Config]) { self.configs = configs }

  /// What a card of converted files would say: `CONFIG/SPLIT/0000.parquet`, or `partial-SPLIT` of the largest sets.
  init(converted paths: [String]) {
    var splits: [String: [String: [String]]] = [:]
    for path in paths {
      let parts = path.split(separator: "/").map(String.init)
      guard parts.count == 3, parts[2].hasSuffix(".parquet") else { continue }
      let split = parts[1].hasPrefix("partial-") ? String(parts[1].dropFirst("partial-".count)) : parts[1]
      splits[parts[0], default: [:]][split, default: []].append(path)
    }
    configs = splits.sorted { isBefore($0.key, $1.key) }.map { name, files in
      Config(
        name: name, dataFiles: files.sorted { isBefore($0.key, $1.key) }.map { (split: $0.key, patterns: $0.value) },
        directory: nil, isDefault: false, options: ReadOptions())
    }
  }
}
