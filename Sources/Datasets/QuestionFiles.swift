import Files

/// Where the splits of a set of questions are: in one file, a directory or a repository of the hub.
struct QuestionFiles {
  /// What the set is called, for messages.
  let set: String
  /// The configuration that is meant where none is named.
  let config: String

  /// - Parameters:
  ///   - path: a directory or a repository of the hub (`owner/name`) whose card has the configuration, or that holds
  ///     `CONFIG/SPLIT-*.parquet`, `SPLIT-*.parquet`, `SPLIT.parquet` or the like, the first of these that is there; or one
  ///     file, which is the test split. Another split than `test` is then looked for beside it, under its name with `test`
  ///     replaced.
  ///   - split: `test`, or another that has examples.
  ///   - places: where repositories of the hub are to be had; nil where none are.
  /// - Throws: `DatasetError` when it is not there; what `places` throws.
  func files(path: String, split: String, places: (any DatasetPlaces)?) throws -> [DataFile] {
    let named = try DatasetSource.groups([path])
    guard named.count == 1, named[0].count == 1 else { throw DatasetError("\(path) is a mix, and no set of questions") }
    let source = named[0][0]
    switch source.location {
    case .file(let path): return try files(besideFile: path, split)
    case .directory(let path):
      return try files(place: LocalPlace(directory: path), split: split, config: source.config)
    case .repository(let repository, let revision):
      guard let places else {
        throw DatasetError(
          "there is no file or directory \(path) with \(set)'s questions, and the hub is not reached from here")
      }
      return try files(
        place: places.place(repository: repository, revision: revision), split: split, config: source.config)
    }
  }

  /// The same in a place whose files are known by a listing.
  ///
  /// - Parameter config: nil for the one that is meant.
  func files(place: any DatasetPlace, split: String, config: String?) throws -> [DataFile] {
    let layout = try DatasetLayout(place)
    return layout.hasConfigs
      ? try layout.splits([split], config: config ?? self.config, isGuess: config == nil).flatMap(\.files)
      : try files(layout, config, split)
  }

  private func files(besideFile path: String, _ split: String) throws -> [DataFile] {
    guard let format = DataFormat(name: path) else {
      throw DatasetError("\(path) is none of \(DataFormat.wanted); name such a file, or a directory of them")
    }
    let name = lastName(path)
    let other = split == "test" ? name : name.replacing("test", with: split, maxReplacements: 1)
    let beside = String(path.dropLast(name.count)) + other
    guard split == "test" || other != name && kind(of: beside) == .file else {
      throw DatasetError(
        "examples come from \(set)'s split \"\(split)\", and there is none beside \(path); name a directory with both")
    }
    return [DataFile(location: .local(beside), name: beside, format: format)]
  }

  /// Copies without a card: `dev` is a split of its own here, where elsewhere it is another word for validation.
  private func files(_ layout: DatasetLayout, _ config: String?, _ split: String) throws -> [DataFile] {
    for folder in [(config ?? self.config) + "/", "", "data/"] {
      let shards = try layout.all(matching: "\(folder)\(split)-*")
      if !shards.isEmpty { return shards }
      for format in ["parquet", "jsonl", "json", "csv", "arrow"] {
        let whole = try layout.all(matching: "\(folder)\(split).\(format)*")
        if let first = whole.first { return [first] }
      }
    }
    throw DatasetError(
      "\(layout.place.name) holds no split \"\(split)\" of \(set): \(self.config)/\(split)-*.parquet or "
        + "\(split).jsonl is wanted")
  }

  private static let maximumQuestions = 1 << 20
  private static let maximumBytes = 1 << 29

  /// The questions of some files, in order.
  ///
  /// - Parameters:
  ///   - columns: all of them have to be there.
  ///   - wanted: what the layout has, for messages.
  ///   - name: of the data.
  ///   - question: makes one of a row, and says how many bytes it has.
  /// - Throws: `DatasetError` for files without these columns, without questions, or with more than any set has.
  func read<Question>(
    _ files: [DataFile], columns: [String], wanted: String, _ name: String, _ split: String,
    _ question: (Record) throws -> (Question, bytes: Int)
  ) throws -> [Question] {
    var questions: [Question] = []
    var bytes = 0
    for file in files {
      let records = try file.open(columns: columns)
      if let table = records as? TableRecords {
        let missing = columns.filter { !table.columns.contains($0) }
        guard missing.isEmpty else {
          throw DatasetError("\(file.name) lacks \(list(missing)); it has \(list(table.columns)). \(wanted)")
        }
      }
      while let record = try records.next() {
        let (next, size) = try question(record)
        bytes += size
        // A small file can stand for rows without end.
        guard questions.count < Self.maximumQuestions, bytes <= Self.maximumBytes else {
          throw DatasetError("\(record.place): more questions than any published set has; is this \(set)?")
        }
        questions.append(next)
      }
    }
    guard !questions.isEmpty else { throw DatasetError("\(name) holds no question of the split \"\(split)\"") }
    return questions
  }
}
