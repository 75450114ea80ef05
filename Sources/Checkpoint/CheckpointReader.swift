import Crypto
import Files
public import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A Hugging Face checkpoint on disk: `config.json` and its safetensors weights, one file or shards with an index.
///
/// Weights are mapped, not read: opening takes the time of reading the headers. Pickled (`.bin`, `.pt`) and GGUF
/// weights are refused.
public final class CheckpointReader: Sendable {
  public let directory: String
  /// `config.json` as it is, keys in their order.
  public let config: JSON.Object
  public let configFile: String
  private let weights: WeightFiles
  /// What the index of shards knows, and the tensors that they hold.
  private let index: (ShardIndex, WeightFiles)?

  /// In the order of their bytes in their file; shards in the order of their names.
  public var tensors: [TensorEntry] { weights.tensors }
  /// The weight files' names, in order.
  public var weightFiles: [String] { weights.names }
  /// Where the shards' index does not fit the shards, one sentence for each kind; what counts is what the shards hold.
  public let indexNotes: [String]

  /// Why tensors are missing that a model needs, as far as the index knows, and what to do; nil without an index.
  public func whereabouts(ofMissing names: [String]) -> String? {
    index.flatMap { $0.whereabouts(of: names, in: $1) }
  }

  /// - Parameter directory: holds `config.json` and `model.safetensors`, or `model.safetensors.index.json` and the
  ///   shards that it names.
  /// - Throws: `CheckpointError`: missing files, files that break their format's rules, a tensor in two shards
  ///   between which the index does not decide, weights in a format that is not read. An index that is wrong about
  ///   anything else is no error here: see `indexNotes`.
  public init(directory: String) throws {
    switch kind(of: directory) {
    case .directory: break
    case .absent:
      throw CheckpointError(
        .missing,
        "there is no directory \(directory); a Hugging Face checkpoint (config.json, model.safetensors) is wanted")
    default:
      throw CheckpointError(
        .missing, "\(directory) is not a directory; name the directory that holds config.json and model.safetensors")
    }
    self.directory = directory
    (config, configFile) = try Self.readConfig(directory: directory)
    let stored = try WeightFiles(directory: directory)
    weights = try stored.dequantising(Quantisation.layout(of: config), in: directory)
    indexNotes = stored.index?.notes(stored) ?? []
    index = stored.index.map { ($0, stored) }
  }

  /// The same files, their tensors under other names.
  ///
  /// - Parameter names: the new names by the old; others remain as they are.
  /// - Throws: `CheckpointError` when two tensors would have one name.
  public func renamed(_ names: [String: String]) throws -> CheckpointReader {
    CheckpointReader(self, weights: try weights.renamed(names, in: directory))
  }

  private init(_ other: CheckpointReader, weights: WeightFiles) {
    directory = other.directory
    config = other.config
    configFile = other.configFile
    indexNotes = other.indexNotes
    index = nil
    self.weights = weights
  }

  /// A checkpoint's `config.json` and its path, without looking at the weights.
  ///
  /// - Throws: `CheckpointError` when it is missing or holds no JSON object.
  public static func readConfig(directory: String) throws -> (config: JSON.Object, file: String) {
    let file = join(directory, "config.json")
    guard kind(of: file) != .absent else {
      throw CheckpointError(
        .missing, "\(directory) holds no config.json; name the directory of a Hugging Face checkpoint")
    }
    return (try WholeFile.object(file), file)
  }

  /// The name of the file with which Model-Optimizer says that weights are quantised; nil when there is none.
  public static func quantisationFile(directory: String) -> String? {
    let name = "hf_quant_config.json"
    return kind(of: join(directory, name)) == .absent ? nil : name
  }

  public func entry(_ name: String) -> TensorEntry? { weights.entry(name) }

  /// A tensor's bytes in little-endian order, row-major: where they are mapped they may be aligned to nothing. A quantised weight
  /// is made anew at each call.
  ///
  /// - Throws: as `bytes`.
  public func contents(of name: String) throws -> TensorContents {
    let (entry, file) = try found(name)
    guard let quantised = entry.quantised else { return TensorContents(try file.bytes(of: entry), owner: self) }
    let made = try quantised.decoded { part in
      guard let file = weights.files[part.file] else {
        throw CheckpointError(.missing, "\(directory) holds no tensor \"\(part.name)\"")
      }
      return try file.bytes(of: part)
    }
    // What it was made of need not be in memory beside it.
    release([name])
    return made
  }

  /// A tensor's bytes as they are stored, of a quantised weight those of its values, valid while this reader lives. They may be
  /// aligned to nothing.
  ///
  /// - Throws: `CheckpointError` when there is no such tensor, or its file has shrunk since it was opened.
  public func bytes(of name: String) throws -> UnsafeRawBufferPointer {
    let (entry, file) = try found(name)
    return try file.bytes(of: entry.quantised?.values ?? entry)
  }

  /// Appends a tensor, or the part of it that is kept, to a sink. Pages of the tensor are given back on the way: a
  /// table of any size passes through a few megabytes of memory.
  ///
  /// - Parameters:
  ///   - kept: per axis the indices to keep, ascending, or nil for all; empty for the whole tensor.
  ///   - append: gets the bytes in order; they are valid during the call only.
  /// - Throws: `CheckpointError` for an unknown tensor or a bad selection; whatever `append` throws.
  public func copy(
    _ name: String, keeping kept: [[Int]?] = [], to append: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    try copy(name, pieces: [kept], to: append)
  }

  /// The same of several parts of a tensor, one after another.
  public func copy(
    _ name: String, pieces: [[[Int]?]], to append: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    let (entry, file) = try found(name)
    let slicers = try pieces.map { try TensorSlicer(entry, keeping: $0) }
    if entry.isQuantised {
      let contents = try contents(of: name)
      return try withExtendedLifetime(contents) {
        for slicer in slicers { try slicer.append(from: contents.bytes, to: append) }
      }
    }
    for slicer in slicers {
      var released = 0
      try slicer.append(from: try file.bytes(of: entry), to: append) { consumed in
        guard consumed - released >= 8 << 20 || consumed == entry.range.count else { return }
        file.release(entry.range.lowerBound + released..<entry.range.lowerBound + consumed)
        // Pages are released whole; the one that this stretch ends in belongs to the next as well.
        released = max(released, consumed - (1 << 16))
      }
    }
  }

  /// Whether two tensors are of one type and shape and hold the same bytes: read up to the first difference, a few
  /// megabytes at a time.
  ///
  /// - Throws: `CheckpointError` for an unknown tensor, or when a file has shrunk.
  public func holdsSameBytes(_ a: String, _ b: String) throws -> Bool {
    let ((first, firstFile), (second, secondFile)) = (try found(a), try found(b))
    guard first.type == second.type, first.shape == second.shape else { return false }
    if first.isQuantised || second.isQuantised {
      let (left, right) = (try contents(of: a), try contents(of: b))
      return withExtendedLifetime((left, right)) { sameBytes(left.bytes, right.bytes) }
    }
    let step = 4 << 20
    for start in stride(from: 0, to: first.range.count, by: step) {
      let part = start..<min(start + step, first.range.count)
      let left = UnsafeRawBufferPointer(rebasing: try firstFile.bytes(of: first)[part])
      let right = UnsafeRawBufferPointer(rebasing: try secondFile.bytes(of: second)[part])
      guard sameBytes(left, right) else { return false }
      for (entry, file) in [(first, firstFile), (second, secondFile)] {
        file.release(entry.range.lowerBound + part.lowerBound..<entry.range.lowerBound + part.upperBound)
      }
    }
    return true
  }

  /// Tells the system to start reading these tensors. A hint: unknown names are skipped.
  public func willNeed(_ names: [String]) { spans(names).forEach { $0.file.willNeed($0.range) } }

  /// Gives back the memory of these tensors (whole pages only); they can be read again at any time.
  public func release(_ names: [String]) { spans(names).forEach { $0.file.release($0.range) } }

  /// SHA-256, in hexadecimal, of `config.json` and every weight file: names, sizes and the hashes of their contents, which
  /// are computed once for each file (see `ContentHash`). Files are read, not mapped, so that hashing a large model does not
  /// fill the process with its pages.
  ///
  /// - Parameter progress: gets bytes of weights done and in all, about every 16 MiB.
  /// - Throws: `CheckpointError` when a file cannot be read, or is no longer the one that was opened.
  public func sha256(progress: ((_ done: Int, _ total: Int) -> Void)? = nil) throws -> String {
    guard let hash = try sha256(onlyKnown: false, progress) else {
      throw CheckpointError(.io, "\(directory): the weights cannot be hashed")
    }
    return hash
  }

  /// The same, unless large files would have to be read for it: nil then.
  public func knownSHA256() throws -> String? { try sha256(onlyKnown: true, nil) }

  /// The weight files whose contents would have to be read to hash them, with their bytes.
  ///
  /// - Throws: `CheckpointError` when a file is no longer the one that was opened.
  public func unhashedFiles() throws -> [(name: String, size: Int)] {
    try weightFiles.compactMap { name in
      guard let file = weights.files[name], try file.sha256(onlyKnown: true, progress: { _ in }) == nil else {
        return nil
      }
      return (name, file.size)
    }
  }

  /// SHA-256 of a weight file's contents, in hexadecimal.
  ///
  /// - Throws: `CheckpointError` when there is no such file, or as `sha256`.
  public func sha256(file name: String, progress: (_ done: Int) -> Void = { _ in }) throws -> String {
    guard let hash = try weights.files[name]?.sha256(onlyKnown: false, progress: progress) else {
      throw CheckpointError(.io, "\(directory) has no weight file \(name)")
    }
    return hash
  }

  /// Takes over what another process found the contents of a weight file to be.
  public func learn(sha256: String, ofFile name: String) { weights.files[name]?.learn(sha256: sha256) }

  private func sha256(onlyKnown: Bool, _ progress: ((_ done: Int, _ total: Int) -> Void)?) throws -> String? {
    let settings = try WholeFile.read(configFile, limit: 64 << 20)
    guard try Self.readConfig(directory: directory).config == config else {
      throw CheckpointError(.malformed, "\(configFile) was changed while it was used: run the same command again")
    }
    var hash = SHA256()
    // Names and sizes first: otherwise bytes could move from one file to the next unseen.
    hash.update(data: Array("config.json\0\(settings.count)\0\(hexadecimal(SHA256.hash(data: settings)))\n".utf8))
    let total = weights.files.values.reduce(0) { $0 + $1.size }
    var before = 0
    for name in weightFiles {
      guard let file = weights.files[name] else { continue }
      guard let contents = try file.sha256(onlyKnown: onlyKnown, progress: { progress?(before + $0, total) }) else {
        return nil
      }
      hash.update(data: Array("\(name)\0\(file.size)\0\(contents)\n".utf8))
      before += file.size
    }
    return hexadecimal(hash.finalize())
  }

  /// Throws when a weight file is no longer what it was when it was opened: to be called before anything that was made of
  /// it is kept, published or printed. Takes a look at each file, no reading.
  ///
  /// - Throws: `CheckpointError` that names the file.
  public func checkUnchanged() throws { try weights.files.values.forEach { try $0.checkUnchanged() } }

  /// Runs something that computes with the weights. Where it fails and a weight file was written to meanwhile, the error
  /// is that, whatever else the damaged numbers led to.
  public func blamingChanges<T>(_ body: () throws -> T) throws -> T {
    do { return try body() } catch {
      try checkUnchanged()
      throw error
    }
  }

  private func found(_ name: String) throws -> (entry: TensorEntry, file: SafetensorsFile) {
    guard let entry = entry(name), let file = weights.files[entry.file] else {
      throw CheckpointError(.missing, "\(directory) holds no tensor \"\(name)\"")
    }
    return (entry, file)
  }

  /// The tensors' bytes by file, neighbours joined: a page shared by two tensors is inside when both are named.
  private func spans(_ names: [String]) -> [(file: SafetensorsFile, range: Range<Int>)] {
    var spans: [(file: SafetensorsFile, range: Range<Int>)] = []
    let at = Set(names.compactMap { weights.positions[JSON.Text($0)] }).sorted()
    for entry in at.flatMap({ weights.tensors[$0].stored }) where !entry.range.isEmpty {
      guard let file = weights.files[entry.file] else { continue }
      if let last = spans.last, last.file === file, last.range.upperBound == entry.range.lowerBound {
        spans[spans.count - 1].range = last.range.lowerBound..<entry.range.upperBound
      } else {
        spans.append((file, entry.range))
      }
    }
    return spans
  }
}

func sameBytes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
  guard a.count == b.count else { return false }
  guard let left = a.baseAddress, let right = b.baseAddress else { return true }
  return memcmp(left, right, a.count) == 0
}
