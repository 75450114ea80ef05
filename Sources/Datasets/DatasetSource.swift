import Files

/// A data set that somebody named: where it is, and which part of it is meant. Nothing of it was looked at.
public struct DatasetSource: Sendable, Equatable {
  public enum Location: Sendable, Equatable {
    /// A path on this machine.
    case file(String)
    case directory(String)
    /// On the hub, `owner/name` or a name alone; a branch, tag or commit of it.
    case repository(String, revision: String?)
  }

  /// As it was written, or the name of a mix's member.
  public let name: String
  public let location: Location
  /// A configuration of its card; nil for the default.
  public let config: String?
  /// Each gives an even share of the rows, the last the rest; none stands for the training split.
  public let splits: [String]
  /// Whether a token is needed for it.
  public let isGated: Bool

  /// What of its rows is text.
  let row: RowText
  /// The files of a split, `{split}` standing for its name.
  var files: String?
  /// Whether configuration and splits are the registry's, which a copy of the data need not have.
  var isGuess = false

  /// The sources that some names stand for: one for each, several for a mix. The rows are shared evenly between the names, and
  /// a mix's share between its members.
  ///
  /// - Parameter names: paths on this machine, registered names, or `owner/name` of the hub, which may be followed by `@` and a
  ///   revision, and by a configuration and splits in brackets: `owner/name[config:split,split]`, `directory[:test]`.
  /// - Throws: `DatasetError` for a name that is none of these, names twice, and a mix beside its member.
  public static func groups(_ names: [String]) throws -> [[DatasetSource]] {
    guard !names.isEmpty else { throw DatasetError("no calibration data is named") }
    let groups = try names.map(group)
    for (at, name) in names.enumerated() {
      for (mix, members) in DatasetRegistry.mixes where mix == name {
        if let member = names.first(where: { members.contains($0) }) {
          throw DatasetError("\"\(member)\" is part of the mix \"\(mix)\"; name one of the two")
        }
      }
      for source in groups[at] {
        guard case .repository = source.location else { continue }
        if groups[..<at].joined().contains(where: { $0.isSame(source) }) {
          throw DatasetError("\"\(source.name)\" is named twice, which would count its rows twice; name it once")
        }
      }
    }
    return groups
  }

  private func isSame(_ other: DatasetSource) -> Bool {
    location == other.location && config == other.config && splits == other.splits
  }

  private static func group(_ name: String) throws -> [DatasetSource] {
    guard !name.isEmpty else { throw DatasetError("a data set's name is empty") }
    if let local = local(name, whole: name, config: nil, splits: []) { return [local] }
    if let mix = DatasetRegistry.mixes.first(where: { $0.name == name }) {
      return mix.members.compactMap(DatasetRegistry.entry).map { registered($0, $0.name) }
    }
    let (base, config, splits) = try part(of: name)
    if base != name, let local = local(base, whole: name, config: config, splits: splits) { return [local] }
    if DatasetRegistry.mixes.contains(where: { $0.name == base }) {
      throw DatasetError("\(name): a mix has its members' configurations and splits; name it without brackets")
    }
    let (repository, revision) = Self.revision(of: base)
    let entry = DatasetRegistry.entry(base) ?? DatasetRegistry.entries.first { $0.repository == repository }
    if let entry { return [registered(entry, name, revision: revision, config: config, splits: splits)] }
    guard isRepository(repository), DataFormat(name: repository) == nil else { throw unknown(name, base) }
    return [
      DatasetSource(
        name: name, location: .repository(repository, revision: revision), config: config, splits: splits,
        isGated: false, row: .automatic)
    ]
  }

  private static func registered(
    _ entry: DatasetRegistry.Entry, _ name: String, revision: String? = nil, config: String? = nil,
    splits: [String] = []
  ) -> DatasetSource {
    DatasetSource(
      name: name, location: .repository(entry.repository, revision: revision), config: config ?? entry.config,
      splits: splits.isEmpty ? entry.splits : splits, isGated: entry.isGated, row: entry.row,
      files: config == nil ? entry.files : nil, isGuess: config == nil)
  }

  /// What is on this machine. A directory that has the name of a registered set holds a copy of it, as in the reference.
  private static func local(_ path: String, whole name: String, config: String?, splits: [String]) -> DatasetSource? {
    switch kind(of: path) {
    case .absent: return nil
    case .file, .other:
      return DatasetSource(
        name: name, location: .file(path), config: config, splits: splits, isGated: false, row: .automatic)
    case .directory:
      let entry = DatasetRegistry.entry(lastName(path))
      return DatasetSource(
        name: name, location: .directory(path), config: config ?? entry?.config,
        splits: splits.isEmpty ? entry?.splits ?? [] : splits, isGated: false, row: entry?.row ?? .automatic,
        isGuess: entry != nil && config == nil && splits.isEmpty)
    }
  }

  /// `base[config:split,split]`.
  private static func part(of name: String) throws -> (base: String, config: String?, splits: [String]) {
    guard name.hasSuffix("]"), let open = name.lastIndex(of: "["), open > name.startIndex else {
      return (name, nil, [])
    }
    let inside = name[name.index(after: open)..<name.index(before: name.endIndex)]
    let halves = inside.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let config = halves.first.map(String.init) ?? ""
    let splits = halves.count < 2 ? [] : halves[1].split(separator: ",").map(String.init)
    guard !config.isEmpty || !splits.isEmpty, Set(splits).count == splits.count else {
      throw DatasetError(
        "\(name): in brackets stand a configuration, splits after a colon, or both: NAME[config:split,split]")
    }
    return (String(name[..<open]), config.isEmpty ? nil : config, splits)
  }

  private static func revision(of base: String) -> (repository: String, revision: String?) {
    let parts = base.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    return parts.count == 2 && !parts[1].isEmpty ? (parts[0], parts[1]) : (base, nil)
  }

  /// `owner/name`, as the hub allows them.
  private static func isRepository(_ name: String) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    return parts.count == 2
      && parts.allSatisfy { part in
        let isWord = { (byte: UInt8) in
          (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte) || byte == UInt8(ascii: "_")
        }
        return part.utf8.count <= 96 && part.utf8.first.map(isWord) ?? false
          && part.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
          && !part.contains("..")
      }
  }

  private static func unknown(_ name: String, _ base: String) -> DatasetError {
    guard !base.contains("/"), DataFormat(name: base) == nil, !base.hasPrefix(".") else {
      return DatasetError(
        "there is no file or directory \(base); a file (\(DataFormat.wanted)), a directory of them, a registered name or "
          + "OWNER/NAME on the hub is wanted")
    }
    let names = DatasetRegistry.names
    return DatasetError(
      "there is no file or directory \(base), and no registered data set of that name"
        + (DatasetRegistry.nearest(base).map { "; is \"\($0)\" meant?" } ?? ".")
        + " Registered are \(names.joined(separator: ", ")); others on the hub are named OWNER/NAME")
  }
}
