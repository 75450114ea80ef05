import Files

/// Documents as token numbers, in the two files of Megatron's indexed datasets: `PREFIX.bin` holds the tokens one after the other,
/// `PREFIX.idx` says where each sequence begins and which of them make a document. Tokens are read as they are asked for.
///
/// Source of the layout: `megatron/core/datasets/indexed_dataset.py`.
public final class IndexedTokens: Sendable {
  /// What `PREFIX.idx` begins with, and the version after it.
  static let magic: [UInt8] = Array("MMIDIDX".utf8) + [0, 0]
  static let version: UInt64 = 1
  /// Bytes before the lists: magic, version, type, and the numbers of sequences and of documents' ends.
  static let headerBytes = magic.count + 8 + 1 + 8 + 8

  /// The path without `.bin` and `.idx`.
  public let prefix: String
  /// Tokens of each document.
  public let lengths: [Int]
  /// Where each document begins, in bytes.
  private let starts: [Int]
  private let type: TokenType
  private let file: OpenFile

  public var tokenCount: Int { lengths.reduce(0, +) }

  /// Whether there are such files.
  public static func isThere(_ prefix: String) -> Bool {
    kind(of: prefix + ".bin") == .file && kind(of: prefix + ".idx") == .file
  }

  /// - Throws: `FileError` for files that are missing; `DatasetError` for an index that is damaged or does not fit its tokens.
  public init(prefix: String) throws {
    let path = prefix + ".idx"
    func broken(_ reason: String) -> DatasetError {
      DatasetError("\(path): \(reason); an indexed dataset of Megatron's (version 1) was expected")
    }
    var bytes = IndexBytes(try WholeFile.read(path, limit: 1 << 36))
    guard try bytes.take(Self.magic.count, or: broken("too short")) == Self.magic[...] else {
      throw broken("does not begin with MMIDIDX")
    }
    let version = try bytes.number(UInt64.self, or: broken("too short"))
    guard version == Self.version else { throw broken("is of version \(version)") }
    let code = try bytes.number(UInt8.self, or: broken("too short"))
    guard let type = TokenType(rawValue: code) else {
      throw broken("holds elements of type \(code), which are no token numbers")
    }
    let sequences = try bytes.count(or: broken("has too many sequences"))
    let ends = try bytes.count(or: broken("has too many documents"))
    // 4 bytes of a length and 8 of a place for each sequence, 8 for each document's end.
    guard bytes.left >= sequences, bytes.left >= ends, bytes.left >= sequences * 12 + ends * 8 else {
      throw broken("is cut off: \(sequences) sequences and \(ends) ends of documents do not fit in \(bytes.left) bytes")
    }
    let tooShort = broken("too short")
    let counts = try (0..<sequences).map { _ in Int(try bytes.number(Int32.self, or: tooShort)) }
    let places = try (0..<sequences).map { _ in Int(clamping: try bytes.number(Int64.self, or: tooShort)) }
    let documents = try (0..<ends).map { _ in Int(clamping: try bytes.number(Int64.self, or: tooShort)) }
    let (file, size) = try OpenFile.reading(prefix + ".bin")
    for (number, (count, place)) in zip(counts, places).enumerated() {
      guard count >= 0, place >= 0, place <= size, count <= (size - place) / type.byteCount else {
        throw broken(
          "sequence \(number) of \(count) tokens at byte \(place) lies outside \(prefix).bin, which has \(size) bytes")
      }
    }
    guard documents.first == 0 || documents.isEmpty, documents.last.map({ $0 == sequences }) ?? (sequences == 0),
      zip(documents, documents.dropFirst()).allSatisfy({ $0 <= $1 })
    else { throw broken("its documents' ends do not rise from 0 to the \(sequences) sequences") }
    var (lengths, starts): ([Int], [Int]) = ([], [])
    for (first, end) in zip(documents, documents.dropFirst()) where first < end {
      for number in first..<end - 1 where places[number] + counts[number] * type.byteCount != places[number + 1] {
        throw broken("the sequences of a document do not follow one another")
      }
      lengths.append(counts[first..<end].reduce(0, +))
      starts.append(places[first])
    }
    (self.prefix, self.lengths, self.starts, self.type, self.file) = (prefix, lengths, starts, type, file)
  }

  /// SHA-256 of both files' contents, computed once.
  ///
  /// - Throws: `DatasetError` where one cannot be read, or changes meanwhile.
  public func fingerprint() throws -> String {
    let (index, _) = try OpenFile.reading(prefix + ".idx")
    return try contentHash(index.path, index.descriptor) + " " + contentHash(file.path, file.descriptor)
  }

  /// Tokens of a document.
  ///
  /// - Throws: `DatasetError` where the file has changed, or holds a number that no vocabulary has.
  public func tokens(document: Int, _ range: Range<Int>) throws -> [Int32] {
    guard lengths.indices.contains(document), range.lowerBound >= 0, range.upperBound <= lengths[document] else {
      throw DatasetError("\(prefix).bin: there are no tokens \(range) in document \(document)")
    }
    let width = type.byteCount
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count * width, alignment: 8)
    defer { buffer.deallocate() }
    guard try file.read(into: buffer, at: starts[document] + range.lowerBound * width) == buffer.count else {
      throw DatasetError("\(prefix).bin has become shorter while it was read")
    }
    return try (0..<range.count).map { index in
      guard let token = type.token(buffer, index * width) else {
        throw DatasetError("\(prefix).bin: token \(range.lowerBound + index) of document \(document) is out of range")
      }
      return token
    }
  }
}

/// How a token number is stored; numbers are those of the format.
enum TokenType: UInt8 {
  case uint8 = 1
  case int8, int16, int32, int64
  case uint16 = 8

  /// The smallest type that Megatron takes for a vocabulary.
  init(vocabulary: Int) { self = vocabulary < 65_500 ? .uint16 : .int32 }

  var byteCount: Int {
    switch self {
    case .uint8, .int8: 1
    case .int16, .uint16: 2
    case .int32: 4
    case .int64: 8
    }
  }

  /// The number at a byte; nil where it is no token.
  func token(_ bytes: UnsafeMutableRawBufferPointer, _ offset: Int) -> Int32? {
    func load<T: FixedWidthInteger>(_ type: T.Type) -> Int32? {
      Int32(exactly: T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))).flatMap {
        $0 < 0 ? nil : $0
      }
    }
    switch self {
    case .uint8: return load(UInt8.self)
    case .int8: return load(Int8.self)
    case .int16: return load(Int16.self)
    case .int32: return load(Int32.self)
    case .int64: return load(Int64.self)
    case .uint16: return load(UInt16.self)
    }
  }
}

/// An index as it is read, from its beginning.
private struct IndexBytes {
  private let bytes: [UInt8]
  private var at = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  var left: Int { bytes.count - at }

  mutating func take(_ count: Int, or error: @autoclosure () -> DatasetError) throws -> ArraySlice<UInt8> {
    guard left >= count else { throw error() }
    defer { at += count }
    return bytes[at..<at + count]
  }

  mutating func number<T: FixedWidthInteger>(_ type: T.Type, or error: @autoclosure () -> DatasetError) throws -> T {
    let size = MemoryLayout<T>.size
    guard left >= size else { throw error() }
    defer { at += size }
    return bytes.withUnsafeBytes { T(littleEndian: $0.loadUnaligned(fromByteOffset: at, as: type)) }
  }

  /// How many of something follow: never more than there are bytes.
  mutating func count(or error: @autoclosure () -> DatasetError) throws -> Int {
    let count = try number(UInt64.self, or: error())
    guard count <= UInt64(bytes.count) else { throw error() }
    return Int(count)
  }
}
