import Files

/// Writes documents as Megatron's indexed datasets have them. Both files appear when all is written.
public final class IndexedTokensWriter {
  private let prefix: String
  private let type: TokenType
  private let directory: String
  private let tokens: OpenFile
  private var lengths: [Int32] = []
  private var buffer: [UInt8] = []
  /// Tokens written so far.
  public private(set) var tokenCount = 0
  public var documentCount: Int { lengths.count }
  private var isFinished = false

  private static let blockBytes = 1 << 20

  /// - Parameters:
  ///   - prefix: the path without `.bin` and `.idx`; neither may be there.
  ///   - vocabulary: says how many bytes a token takes.
  /// - Throws: `FileError`.
  public init(prefix: String, vocabulary: Int) throws {
    for path in [prefix + ".bin", prefix + ".idx"] where isTaken(path) {
      throw FileError(.exists, "\(path) exists already and is left as it is: remove it yourself or choose another name")
    }
    let (parent, name) = try split(prefix)
    _ = try makeDirectories(parent)
    directory = try makeUnfinishedDirectory(join(parent, ".\(name).partial"))
    (self.prefix, type) = (prefix, TokenType(vocabulary: vocabulary))
    tokens = try OpenFile.creating(join(directory, "bin"))
  }

  deinit {
    if !isFinished { Unfinished.remove(directory) }
  }

  /// - Throws: `DatasetError` for a document of more tokens than the format can say, `FileError`.
  public func append(_ document: [Int32]) throws {
    guard let count = Int32(exactly: document.count) else {
      throw DatasetError("a document of \(document.count) tokens is too long for an indexed dataset")
    }
    for token in document { append(token) }
    lengths.append(count)
    tokenCount += document.count
    if buffer.count >= Self.blockBytes { try flush() }
  }

  private func append(_ token: Int32) {
    switch type {
    case .uint16: Swift.withUnsafeBytes(of: UInt16(truncatingIfNeeded: token).littleEndian) { buffer += $0 }
    default: Swift.withUnsafeBytes(of: token.littleEndian) { buffer += $0 }
    }
  }

  private func flush() throws {
    try buffer.withUnsafeBytes { try tokens.write($0) }
    buffer.removeAll(keepingCapacity: true)
  }

  /// Writes the index and puts both files where they belong.
  public func finish() throws {
    try flush()
    try tokens.synchronize()
    var index: [UInt8] = IndexedTokens.magic
    func add(_ value: some FixedWidthInteger) { Swift.withUnsafeBytes(of: value.littleEndian) { index += $0 } }
    add(IndexedTokens.version)
    add(type.rawValue)
    add(UInt64(lengths.count))
    add(UInt64(lengths.count + 1))
    for length in lengths { add(length) }
    var place: Int64 = 0
    for length in lengths {
      add(place)
      place += Int64(length) * Int64(type.byteCount)
    }
    for end in 0...lengths.count { add(Int64(end)) }
    let file = try OpenFile.creating(join(directory, "idx"))
    try index.withUnsafeBytes { try file.write($0) }
    try file.synchronize()
    // The index last: without it there is no dataset.
    for part in ["bin", "idx"] { try move(join(directory, part), to: prefix + "." + part) }
    isFinished = true
    Unfinished.remove(directory)
  }
}
