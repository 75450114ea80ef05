import JSON

/// The header of a safetensors file, held against every rule of the format.
///
/// The format: eight bytes, little-endian, the length N of the header; N bytes of JSON that start with `{` and
/// may be padded with spaces; then the tensors' bytes. The JSON maps each name to `dtype`, `shape` and
/// `data_offsets` (from the end of the header), and `__metadata__` to strings. The tensors must cover the rest of
/// the file exactly: no hole, no overlap, nothing after the last one.
///
/// Source: README of huggingface/safetensors ("Format").
public struct SafetensorsHeader: Sendable {
  /// The longest header that the format allows.
  public static let maximumLength = 100_000_000

  /// In the order of their bytes in the file.
  public let tensors: [TensorEntry]
  public let metadata: [String: String]
  /// Where the tensors' bytes begin in the file.
  public let dataStart: Int

  /// - Parameters:
  ///   - start: the file's first bytes; as many as the header needs, or all there are.
  ///   - fileSize: bytes in the whole file.
  ///   - file: the name that entries and messages give the file.
  /// - Throws: `CheckpointError`, malformed.
  public init(start: UnsafeRawBufferPointer, fileSize: Int, file: String) throws {
    func malformed(_ message: String) -> CheckpointError {
      CheckpointError(.malformed, "\(file) is not a safetensors file that can be trusted: \(message)")
    }
    let length = try Self.length(start: start, fileSize: fileSize, file: file)
    guard start.count >= 8 + length else { throw malformed("its header ends before its \(length) bytes") }
    let text = UnsafeRawBufferPointer(rebasing: start[8..<8 + length])
    guard text.first == UInt8(ascii: "{") else { throw malformed("its header does not start with '{'") }
    let json: JSON
    do { json = try JSON(parsing: text, dialect: .strict) } catch { throw malformed("its header is \(error)") }
    guard let object = json.object else { throw malformed("its header is \(json.kind), not an object") }

    dataStart = 8 + length
    var metadata: [String: String] = [:]
    var tensors: [TensorEntry] = []
    tensors.reserveCapacity(object.count)
    for (key, value) in object {
      if key == "__metadata__" {
        guard let pairs = value.object else { throw malformed("__metadata__ is \(value.kind), not an object") }
        for (name, value) in pairs {
          guard let text = value.string else {
            throw malformed("__metadata__ has \(value.kind) under \"\(name)\"; the format allows strings only")
          }
          metadata[name.description] = text
        }
        continue
      }
      do {
        tensors.append(
          try Self.entry(name: key.description, value, dataStart: 8 + length, fileSize: fileSize, file: file))
      } catch let problem as Problem { throw malformed("tensor \"\(key)\" \(problem.message)") }
    }
    tensors.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
    var end = dataStart
    for tensor in tensors {
      guard tensor.range.lowerBound == end else {
        let gap = tensor.range.lowerBound > end ? "leaves a hole before it" : "overlaps the tensor before it"
        throw malformed(
          "tensor \"\(tensor.name)\" \(gap): it begins at byte \(tensor.range.lowerBound - dataStart) of the data, "
            + "and the one before ends at \(end - dataStart)")
      }
      end = tensor.range.upperBound
    }
    guard end == fileSize else {
      throw malformed(
        "its tensors end at byte \(end) and the file at byte \(fileSize)"
          + (end > fileSize ? "; the file is cut off: copy or download it again" : ""))
    }
    self.tensors = tensors
    self.metadata = metadata
  }

  /// The header's length, from the first eight bytes, when the format and the file allow it.
  static func length(start: UnsafeRawBufferPointer, fileSize: Int, file: String) throws -> Int {
    guard start.count >= 8, fileSize >= 8 else {
      throw CheckpointError(
        .malformed, "\(file) has \(fileSize) bytes and cannot be a safetensors file: copy or download it again")
    }
    let length = UInt64(littleEndian: start.loadUnaligned(as: UInt64.self))
    guard length <= UInt64(maximumLength) else {
      throw CheckpointError(
        .malformed,
        "\(file) is not a safetensors file that can be trusted: it says that its header has \(length) bytes, and the "
          + "format allows \(maximumLength)")
    }
    guard Int(length) <= fileSize - 8 else {
      throw CheckpointError(
        .malformed,
        "\(file) is cut off: it says that its header has \(length) bytes, and \(fileSize - 8) follow; copy or "
          + "download it again")
    }
    return Int(length)
  }

  private struct Problem: Error { let message: String }

  private static func entry(
    name: String, _ value: JSON, dataStart: Int, fileSize: Int, file: String
  ) throws -> TensorEntry {
    guard let object = value.object else { throw Problem(message: "is \(value.kind), not an object") }
    guard let typeName = object["dtype"]?.string else { throw Problem(message: "has no dtype that is a string") }
    guard let type = ElementType(rawValue: typeName) else {
      throw Problem(message: "has the dtype \"\(typeName)\", which the format does not know")
    }
    guard let sizes = object["shape"]?.array else { throw Problem(message: "has no shape that is a list") }
    let shape = try sizes.map { try size($0, of: "shape") }
    guard let offsets = object["data_offsets"]?.array, offsets.count == 2 else {
      throw Problem(message: "has no data_offsets that are a list of two numbers")
    }
    let begin = try size(offsets[0], of: "data_offsets")
    let end = try size(offsets[1], of: "data_offsets")
    guard begin <= end else { throw Problem(message: "ends (\(end)) before it begins (\(begin))") }
    guard end <= fileSize - dataStart else {
      throw Problem(
        message: "ends at byte \(end) of the data, and the file has \(fileSize - dataStart) bytes of data: the file "
          + "is cut off, copy or download it again")
    }
    guard let bytes = type.byteCount(ofShape: shape) else {
      throw Problem(message: "has the shape \(shape) of \(typeName), which is no number of bytes")
    }
    guard bytes == end - begin else {
      throw Problem(message: "has the shape \(shape) of \(typeName), \(bytes) bytes, and data of \(end - begin) bytes")
    }
    return TensorEntry(name: name, type: type, shape: shape, file: file, range: dataStart + begin..<dataStart + end)
  }

  /// A size: an integer without sign, fraction or exponent, that fits.
  private static func size(_ value: JSON, of key: String) throws -> Int {
    guard case .number(let number) = value else {
      throw Problem(message: "has \(value.kind) in its \(key), where a number should be")
    }
    guard !number.spelling.utf8.starts(with: "-".utf8), let size = number.int else {
      throw Problem(message: "has \(number.spelling.prefix(40)) in its \(key), which is no size")
    }
    return size
  }
}
