import Files
public import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The files of a checkpoint that a pruned copy takes along besides config and weights: whatever the tokenizer needs,
/// chat templates, generation and processor settings, licences and notices, read-mes and other documents.
///
/// They are chosen by meaning. Never taken: other weights and indexes of weights, adapters, what a trainer or a
/// quantiser left there, Python code, hidden files, and settings of other programs (`params.json`), whose sizes would be
/// those of the unpruned model.
public struct Companions: Sendable {
  public struct File: Sendable, Equatable {
    /// Its path below the source's directory.
    public let source: String
    /// Its path below the result's directory.
    public let name: String
    /// It names Python code (`auto_map`), and is copied without those entries; other files are copied byte by byte.
    public let namesCode: Bool
  }

  public let directory: String
  /// In the order of their names.
  public let files: [File]
  /// One sentence about each file that is passed over although its name is a companion's.
  public let warnings: [String]

  /// Looks for a checkpoint's companions and opens each of them, so that what cannot be read is known before work
  /// begins.
  ///
  /// - Throws: `CheckpointError` for a directory that cannot be listed, a file that cannot be opened, and a settings
  ///   file that names code and is no JSON.
  public init(directory: String) throws {
    self.directory = directory
    var (files, warnings) = ([File](), [String]())
    func consider(_ source: String) throws {
      let path = join(directory, source)
      switch try target(of: path) {
      case .file: break
      case .absent: return warnings.append("\(path) is passed over: it is a link to something that is not there")
      case .directory: return warnings.append("\(path) is passed over: it is a directory, not a file")
      case .other: return warnings.append("\(path) is passed over: it is not a regular file")
      }
      if try Self.isPointer(path) { return warnings.append("\(path) is passed over: \(GitLFS.message(path))") }
      let namesCode = try Self.mayNameCode(source) && CodeReferences.settings(in: path) != nil
      files.append(File(source: source, name: Self.nameInResult(source), namesCode: namesCode))
    }
    for name in try names(in: directory) {
      if let isMember = Self.members(of: name), kind(of: join(directory, name)) == .directory {
        for member in try names(in: join(directory, name)) where isMember(member) { try consider(join(name, member)) }
      } else if Self.isCompanion(name) {
        try consider(name)
      }
    }
    self.files = files
    self.warnings = warnings
  }

  /// Copies them into a directory that is being built; hub caches are directories of links, and what those point to is
  /// copied.
  ///
  /// - Throws: `CheckpointError`, io.
  public func copy(to target: String) throws {
    for file in files {
      if let slash = file.name.lastIndex(of: "/") { try makeDirectories(join(target, String(file.name[..<slash]))) }
      let (from, to) = (join(directory, file.source), join(target, file.name))
      if file.namesCode, let settings = try CodeReferences.settings(in: from) {
        try OutputDirectory.write((JSON.object(settings).serialized(indent: 2) + "\n").utf8, to: to)
      } else if let card = cardWithLinks(from, file) {
        try OutputDirectory.write(card.utf8, to: to)
      } else {
        try Self.copy(from, to)
      }
    }
  }

  /// A card whose link to the card before it has to follow that one to its new name; nil for every other file.
  private func cardWithLinks(_ path: String, _ file: File) -> String? {
    let moved = files.filter { $0.name != $0.source && $0.source.lowercased().hasPrefix("readme.source.") }
    guard !moved.isEmpty, file.name != file.source, let bytes = try? WholeFile.read(path, limit: 1 << 20),
      let card = String(validating: bytes, as: UTF8.self)
    else { return nil }
    func link(_ name: String) -> String { "[\(name)](\(name))" }
    // The longest first: what one gives is another's name.
    let changed = moved.sorted { $0.source.count > $1.source.count }
      .reduce(card) { $0.replacing(link($1.source), with: link($1.name)) }
    return changed == card ? nil : changed
  }

  private static func copy(_ from: String, _ to: String) throws {
    let (source, target) = (try OpenFile.reading(from).file, try OpenFile.creating(to))
    try withUnsafeTemporaryAllocation(byteCount: 1 << 18, alignment: 16) { buffer in
      while case let count = try source.read(into: buffer), count > 0 {
        try target.write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
      }
    }
  }

  // MARK: Names

  /// The result has a `README.md` of its own, and the source's is kept beside it. Pruned once more, both move on.
  private static func nameInResult(_ name: String) -> String {
    switch name.lowercased() {
    case "readme.md": "README.source.md"
    case let lower where lower.hasPrefix("readme.source.") && lower.hasSuffix(".md"):
      "README.source." + name.dropFirst("readme.".count)
    default: name
    }
  }

  /// Directories of companions, and which of their files are.
  private static func members(of directory: String) -> ((String) -> Bool)? {
    switch directory.lowercased() {
    case "additional_chat_templates": { !$0.hasPrefix(".") && $0.lowercased().hasSuffix(".jinja") }
    // As the REUSE specification and many notices have it.
    case "licenses", "licences", "third_party_licenses", "third_party_licences":
      { !$0.hasPrefix(".") && !isCode($0.lowercased()) }
    default: nil
    }
  }

  private static func mayNameCode(_ name: String) -> Bool { name.lowercased().hasSuffix("config.json") }

  private static func isCode(_ name: String) -> Bool {
    [".py", ".pyc", ".ipynb", ".sh", ".so"].contains(where: name.hasSuffix)
  }

  /// Whether a file of a checkpoint is a companion, by its path below the checkpoint's directory.
  package static func isCompanion(path: String) -> Bool {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    if parts.count == 2, let isMember = members(of: parts[0]) { return isMember(parts[1]) }
    return parts.count == 1 && isCompanion(path)
  }

  static func isCompanion(_ name: String) -> Bool {
    let name = name.lowercased()
    if name.hasPrefix(".") || isCode(name) || own.contains(name) || name.hasSuffix(".index.json") { return false }
    if exact.contains(name) || isLegal(name) || isTokenizer(name) { return true }
    // Documents are Markdown or plain; read-mes may have any ending. Templates are Jinja everywhere.
    return name.hasSuffix(".md") || name.hasSuffix(".jinja") || name == "readme" || name.hasPrefix("readme.")
      || name.hasPrefix("readme_") || name.hasPrefix("readme-")
  }

  private static func isPointer(_ path: String) throws -> Bool {
    let (file, size) = try OpenFile.reading(path)
    guard size < GitLFS.maximumLength else { return false }
    return try withUnsafeTemporaryAllocation(byteCount: 100, alignment: 1) { buffer in
      let count = try file.read(into: buffer)
      return GitLFS.isPointer(buffer[..<count])
    }
  }

  /// What every result has anew.
  private static let own: Set<String> = ["config.json", "coppice.json", "coppice_importance.json", "report.md"]

  private static let exact: Set<String> = [
    "special_tokens_map.json", "added_tokens.json", "merges.txt", "bpe.codes", "encoder.json", "tekken.json",
    "chat_template.json", "generation_config.json", "processor_config.json", "preprocessor_config.json",
    "video_preprocessor_config.json", "citation.cff", "citation.bib",
  ]

  private static func isTokenizer(_ name: String) -> Bool {
    let endings = [".json", ".txt", ".model", ".bpe", ".spm"]
    for start in ["tokenizer", "vocab"] where name.hasPrefix(start) {
      // Mistral numbers its files: tokenizer.model.v3.
      if endings.contains(where: name.hasSuffix) || name.hasPrefix(start + ".model.v") { return true }
    }
    // SentencePiece's and tiktoken's endings, under any name.
    return [".model", ".spm", ".tiktoken"].contains(where: name.hasSuffix)
  }

  /// Licences, notices and terms of use, in British and American spelling: any document with such a word in its name.
  private static func isLegal(_ name: String) -> Bool {
    let words = name.split { !$0.isLetter }.map(String.init)
    guard words.contains(where: legal.contains) || ["use_policy", "use-policy"].contains(where: name.contains) else {
      return false
    }
    return !data.contains(where: name.hasSuffix)
  }

  private static let data = [
    ".json", ".jsonl", ".yaml", ".yml", ".csv", ".log", ".parquet", ".safetensors", ".bin", ".pt", ".pth", ".gguf",
  ]

  private static let legal: Set<String> = [
    "license", "licence", "licenses", "licences", "copying", "copyright", "notice", "notices", "patents", "terms",
    "attribution", "attributions", "disclaimer", "eula",
  ]
}

/// Entries of settings files that name Python files of the checkpoint. A pruned copy has no use for them: every family
/// is native in `transformers`, and code of the checkpoint's own knows nothing of pruned shapes.
public enum CodeReferences {
  static let keys = ["auto_map", "custom_pipelines"]

  /// A copy without such entries, at any depth; nil when there are none.
  public static func removed(from object: JSON.Object) -> JSON.Object? {
    var copy = object
    var changed = false
    for (key, value) in object {
      if keys.contains(key.description) {
        copy[key] = nil
        changed = true
      } else if let inner = value.object, let cleaned = removed(from: inner) {
        copy[key] = .object(cleaned)
        changed = true
      }
    }
    return changed ? copy : nil
  }

  /// The settings in a file without such entries; nil when it names no code.
  ///
  /// - Throws: `CheckpointError` when it seems to name some and cannot be understood.
  static func settings(in path: String) throws -> JSON.Object? {
    let limit = 64 << 20
    let text = String(decoding: try WholeFile.read(path, limit: limit), as: UTF8.self)
    guard keys.contains(where: { text.contains("\"\($0)\"") }) else { return nil }
    return removed(from: try WholeFile.object(path, limit: limit))
  }
}

/// What a path leads to, as `kind(of:)` has it; a path that may not be followed to its end is an error.
private func target(of path: String) throws -> FileKind {
  var status = stat()
  if stat(path, &status) != 0, ![ENOENT, ELOOP, ENOTDIR].contains(errno) { throw systemError("look at", path) }
  return kind(of: path)
}
