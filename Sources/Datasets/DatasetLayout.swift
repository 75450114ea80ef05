import Files

/// A file to read rows from.
struct DataFile: Sendable {
  enum Location: Sendable {
    /// Its path on this machine.
    case local(String)
    /// To be had from its place when it is wanted.
    case remote(any DatasetPlace, DatasetFile)
  }

  let location: Location
  /// In messages.
  let name: String
  let format: DataFormat
  var options = ReadOptions()

  func open(columns: [String]) throws -> any RecordReader {
    let path =
      switch location {
      case .local(let path): path
      case .remote(let place, let file): try place.file(file.path)
      }
    return try openRecords(path, name: name, format, options: options, columns: columns)
  }
}

/// The files of a part of a data set, in order.
struct SplitFiles: Sendable {
  let split: String
  let files: [DataFile]
}

/// Which files of a place make up which split: as its card says, else by the names of directories and files.
///
/// Source: `datasets` 5.2.0, `load.py` and `data_files.py`.
struct DatasetLayout {
  let place: any DatasetPlace
  private let listing: DatasetListing
  private let card: DatasetCard

  /// - Throws: `DatasetError` for a place that lists no files, or whose card means nothing.
  init(_ place: any DatasetPlace) throws {
    let listing = try DatasetListing(place)
    let card = try place.card().map { try DatasetCard($0, place: place.name) } ?? DatasetCard(configs: [])
    let hasData = listing.files.contains { DataFormat(name: $0.path) != nil && !DatasetListing.isIgnored($0.path) }
    let script = lastName(place.name) + ".py"
    // Files beside a data set's own script are what the script makes rows of, not rows.
    let isScript = listing.files.contains { $0.path == script || !hasData && $0.path.hasSuffix(".py") }
    if isScript, card.configs.allSatisfy({ $0.dataFiles == nil }) {
      if let converted = try place.converted() {
        self.place = converted
        self.listing = try DatasetListing(converted)
        self.card = DatasetCard(converted: self.listing.files.map(\.path))
        return
      }
      guard hasData else {
        throw DatasetError(
          "\(place.name) holds a script instead of data, which is never run, and no converted files are to be had; choose "
            + "another data set")
      }
    }
    (self.place, self.listing, self.card) = (place, listing, card)
  }

  /// The files of some splits.
  ///
  /// - Parameters:
  ///   - config: the card's configuration that is meant; nil for its default.
  ///   - isGuess: whether a configuration of another name is as good, where there is only one.
  /// - Throws: `DatasetError` that says which configurations and splits there are.
  func splits(_ wanted: [String], config: String?, isGuess: Bool = false) throws -> [SplitFiles] {
    let chosen = try self.config(config, isGuess)
    let directory = try chosen?.directory.map { try Self.directory($0, place) } ?? ""
    let patterns = try chosen?.dataFiles ?? self.patterns(in: directory)
    return try wanted.map { split in
      guard let own = patterns.first(where: { $0.split == split }) else {
        let names = patterns.map(\.split)
        throw DatasetError(
          split == "train"
            ? "\(place.name) holds no training split, only \(list(names)); name one as "
              + "\(place.name)[\(config ?? ""):\(names.first ?? "SPLIT")]"
            : "\(place.name) holds no split \"\(split)\", only \(list(names))")
      }
      let files = try self.files(own.patterns, in: directory, isCard: chosen?.dataFiles != nil)
      guard !files.isEmpty else {
        throw DatasetError(
          "\(place.name): no file of the split \"\(split)\" is data that can be read; wanted are \(DataFormat.wanted)")
      }
      return SplitFiles(split: split, files: files.map { file($0, chosen?.options ?? ReadOptions()) })
    }
  }

  /// The files that a pattern names, whatever the card says.
  func files(matching pattern: String) throws -> [DataFile] {
    let files = try files([pattern], in: "", isCard: false)
    guard !files.isEmpty else { throw DatasetError("\(place.name) holds no data file that matches \(pattern)") }
    return files.map { file($0, ReadOptions()) }
  }

  /// The names of the splits, as far as they can be told.
  func splitNames(config: String?, isGuess: Bool = false) throws -> [String] {
    let chosen = try self.config(config, isGuess)
    let directory = try chosen?.directory.map { try Self.directory($0, place) } ?? ""
    return try (chosen?.dataFiles ?? patterns(in: directory)).map(\.split)
  }

  /// Whether a card says which files are meant.
  var hasConfigs: Bool { !card.configs.isEmpty }

  /// Every data file that a pattern names, of whichever kind.
  func all(matching pattern: String) throws -> [DataFile] {
    try listing.matching(Glob(pattern)).filter { DataFormat(name: $0.path) != nil }.map { file($0, ReadOptions()) }
  }

  private func config(_ name: String?, _ isGuess: Bool) throws -> DatasetCard.Config? {
    guard !card.configs.isEmpty else {
      guard name == nil || isGuess else {
        throw DatasetError(
          "\(place.name) has no configurations, so none named \"\(name ?? "")\"; leave it out")
      }
      return nil
    }
    let names = card.configs.map(\.name)
    if let name {
      if let config = card.configs.first(where: { $0.name == name }) { return config }
      guard isGuess, card.configs.count == 1 else {
        throw DatasetError("\(place.name) has no configuration \"\(name)\"; it has \(list(names))")
      }
      return card.configs[0]
    }
    guard let config = try card.defaultConfig(place.name) else {
      throw DatasetError(
        "\(place.name) has several configurations, \(list(names)); name one as \(place.name)[\(names[0])]")
    }
    return config
  }

  /// A card's `data_dir`, as the start of patterns.
  private static func directory(_ path: String, _ place: any DatasetPlace) throws -> String {
    let parts = path.split(separator: "/").filter { $0 != "." }
    guard !path.hasPrefix("/"), !parts.contains("..") else {
      throw DatasetError("\(place.name): the card's data_dir \"\(path)\" leads out of the data set")
    }
    return parts.map { $0 + "/" }.joined()
  }

  private func file(_ file: DatasetFile, _ options: ReadOptions) -> DataFile {
    let location: DataFile.Location
    let name: String
    if let local = place as? LocalPlace {
      name = join(local.name, file.path)
      location = .local(name)
    } else {
      name = "\(place.name): \(file.path)"
      location = .remote(place, file)
    }
    // Files were chosen by having a format.
    let format = DataFormat(name: file.path) ?? DataFormat.plainText
    return DataFile(location: location, name: name, format: format, options: options)
  }

  /// The data that some patterns name, each pattern's in order.
  private func files(_ patterns: [String], in directory: String, isCard: Bool) throws -> [DatasetFile] {
    var found: [DatasetFile] = []
    for pattern in patterns {
      let glob: Glob
      do { glob = try Glob(directory + pattern) } catch { throw DatasetError("\(place.name): \(error)") }
      let matched = listing.matching(glob).filter { DataFormat(name: $0.path) != nil }
      guard !matched.isEmpty || glob.isPattern else {
        throw DatasetError(
          "\(place.name): there is no data file \(pattern), which "
            + (isCard ? "its card names" : "is wanted") + "; \(DataFormat.wanted) can be read")
      }
      found += matched
    }
    // A card says which files are meant; elsewhere those of the kind that most are of.
    return isCard ? found : Self.ofTheMostCommonKind(found)
  }

  private static func ofTheMostCommonKind(_ files: [DatasetFile]) -> [DatasetFile] {
    struct Extension: Hashable {
      let name: String
      let isMetadata: Bool
    }
    var counts: [Extension: Int] = [:]
    for file in files {
      let isMetadata = ["metadata.csv", "metadata.jsonl", "metadata.parquet"].contains(lastName(file.path))
      for name in DataFormat.extensions(file.path) where DataFormat.kinds[name] != nil {
        counts[Extension(name: name, isMetadata: isMetadata), default: 0] += 1
      }
    }
    // The later, the more they are liked where numbers are equal; of the rest the last by name.
    let liked = ["csv", "json", "jsonl", "arrow", "parquet"]
    func rank(_ entry: Dictionary<Extension, Int>.Element) -> (Int, Int, Int, String) {
      (entry.key.isMetadata ? 0 : 1, entry.value, liked.firstIndex(of: entry.key.name) ?? -1, entry.key.name)
    }
    let most = counts.max { rank($0) < rank($1) }
    guard let kind = most.flatMap({ DataFormat.kinds[$0.key.name] }) else { return [] }
    return files.filter { DataFormat(name: $0.path)?.kind == kind }
  }

  /// Splits by the names of files and directories: the first of the layouts that finds any.
  private func patterns(in directory: String) throws -> [(split: String, patterns: [String])] {
    if let sharded = try sharded(in: directory) { return sharded }
    for layout in Self.layouts {
      let found = try layout.filter { _, patterns in
        try patterns.contains { try !listing.matching(Glob(directory + $0)).isEmpty }
      }
      if !found.isEmpty { return found }
    }
    throw DatasetError(
      "\(place.name) holds no data file" + (directory.isEmpty ? "" : " below \(directory)")
        + ": \(DataFormat.wanted) is wanted")
  }

  private static let number = "[0-9][0-9][0-9][0-9][0-9]"

  /// `data/SPLIT-00000-of-00001.parquet` and the like.
  private func sharded(in directory: String) throws -> [(split: String, patterns: [String])]? {
    func pattern(_ split: String) -> String { "data/\(split)-\(Self.number)-of-\(Self.number)*.*" }
    let files = try listing.matching(Glob(directory + pattern("*")))
    guard !files.isEmpty else { return nil }
    var splits: Set<String> = []
    for file in files {
      guard let split = Self.split(ofShard: lastName(file.path)) else { continue }
      guard isSplitName(split) else {
        throw DatasetError(
          "\(place.name): \"\(split)\" in \(file.path) is no name of a split: letters, digits and _ are. Rename the "
            + "file, or name it itself")
      }
      splits.insert(split)
    }
    let known = ["train", "validation", "test"].filter(splits.contains)
    return (known + splits.subtracting(known).sorted(by: isBefore)).map { ($0, [pattern($0)]) }
  }

  /// What stands before the last `-00000-of-0000`.
  private static func split(ofShard name: String) -> String? {
    let bytes = Array(name.utf8)
    let isDigit = { (byte: UInt8) in (48...57).contains(byte) }
    let middle = Array("-of-".utf8)
    for start in bytes.indices.dropFirst().reversed() where bytes[start] == UInt8(ascii: "-") {
      guard start + 14 <= bytes.count, bytes[(start + 1)..<(start + 6)].allSatisfy(isDigit),
        bytes[(start + 6)..<(start + 10)].elementsEqual(middle), bytes[(start + 10)..<(start + 14)].allSatisfy(isDigit)
      else { continue }
      return String(decoding: bytes[..<start], as: UTF8.self)
    }
    return nil
  }

  private static let keywords: [(split: String, words: [String])] = [
    ("train", ["train", "training"]), ("validation", ["validation", "valid", "dev", "val"]),
    ("test", ["test", "testing", "eval", "evaluation"]),
  ]

  private static let layouts: [[(split: String, patterns: [String])]] = {
    let mark = "[-._ 0-9]"
    // Logs and tasks of programs, which `datasets` knows; they are no text to read here.
    let others = [
      [(split: "logs", patterns: ["**/*.eval"])], [(split: "test", patterns: ["**/task.toml", "**/instruction.md"])],
    ]
    let directories = keywords.map { split, words in
      let patterns = words.flatMap { word in
        ["**/\(word)/**", "**/\(word)\(mark)*/**", "**/*\(mark)\(word)/**", "**/*\(mark)\(word)\(mark)*/**"]
      }
      return (split: split, patterns: patterns)
    }
    let names = keywords.map { split, words in
      (split: split, patterns: words.flatMap { ["**/\($0)\(mark)*", "**/*\(mark)\($0)\(mark)*"] })
    }
    return others + [directories, names, [(split: "train", patterns: ["**"])]]
  }()
}
