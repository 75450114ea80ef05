import Files

/// A source whose files are known: listed, and not yet read.
struct ResolvedSource: Sendable {
  let source: DatasetSource
  /// In the order in which their rows are taken.
  let splits: [SplitFiles]
  /// What tells the contents apart without reading them; nil for files on this machine.
  let identity: String?

  /// - Throws: `DatasetError` when it is not there or holds no data that can be read; what `places` throws.
  init(_ source: DatasetSource, places: (any DatasetPlaces)?) throws {
    self.source = source
    switch source.location {
    case .file(let path):
      guard source.config == nil, source.splits.isEmpty || source.splits == ["train"] else {
        throw DatasetError("\(source.name): a file is the training split alone; name it without brackets")
      }
      guard let format = DataFormat(name: path) else {
        throw DatasetError(
          "\(path) is none of \(DataFormat.wanted); write one JSON object a line into a .jsonl file, as "
            + #"{"text": "..."}"#)
      }
      splits = [SplitFiles(split: "train", files: [DataFile(location: .local(path), name: path, format: format)])]
      identity = nil
    case .directory(let path): (splits, identity) = (try Self.splits(source, LocalPlace(directory: path)), nil)
    case .repository(let repository, let revision):
      guard let places else {
        throw DatasetError("\(repository) is on the hub, which is not reached from here; name a file or a directory")
      }
      let place = try places.place(repository: repository, revision: revision)
      splits = try Self.splits(source, place)
      identity = place.identity ?? "\(repository)\0\(revision ?? "")"
    }
  }

  private static func splits(_ source: DatasetSource, _ place: any DatasetPlace) throws -> [SplitFiles] {
    let layout = try DatasetLayout(place)
    if let files = source.files {
      return try source.splits.map { split in
        let pattern = files.replacing("{split}", with: split)
        return SplitFiles(split: split, files: try layout.files(matching: pattern))
      }
    }
    var wanted = source.splits.isEmpty ? ["train"] : source.splits
    if source.isGuess, place is LocalPlace {
      // A copy under a registered name may be laid out in another manner.
      let there = try layout.splitNames(config: source.config, isGuess: true)
      if !wanted.contains(where: there.contains), there.contains("train") { wanted = ["train"] }
    }
    return try layout.splits(wanted, config: source.config, isGuess: source.isGuess)
  }
}
