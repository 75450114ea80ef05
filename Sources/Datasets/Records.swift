import JSON

/// One row of a data set, good until the next one is read.
struct Record {
  /// All columns of the row that can be told, for messages.
  let names: [String]
  /// Where the row stands, for messages.
  let place: String
  /// A column's value, made when it is asked for, so that columns which nobody asks for stop nothing.
  let value: (_ column: String) throws -> JSON?
}

/// The rows of one file, in order, read as they are asked for.
protocol RecordReader: AnyObject {
  func next() throws -> Record?
}

/// Opens a file of data. Of a file with columns only the named ones are read, as far as it has them.
///
/// - Parameter name: what messages call it; its path when nil.
func openRecords(
  _ path: String, name: String? = nil, _ format: DataFormat, options: ReadOptions = ReadOptions(), columns: [String]
) throws -> any RecordReader {
  if let packed = format.packedAs {
    throw DatasetError(
      "\(name ?? path): files packed as .\(packed) are not read; unpack it, or pack it with gzip or zstd")
  }
  if format.kind == .parquet || format.kind == .arrow {
    return try TableRecords(path, name: name, format, columns: columns)
  }
  let bytes = try ByteBuffer(InputFile(path, name: name, compression: format.compression))
  switch format.kind {
  case .csv: return try CSVRecords(bytes, separator: options.separator ?? format.separator)
  case .text: return TextRecords(bytes)
  default:
    if let field = options.field { return try FieldRecords(bytes, field: field) }
    // `datasets` tells a list from lines by the first byte, too.
    return try bytes.firstAfterSpace() == UInt8(ascii: "[")
      ? ListRecords(bytes, columns: columns) : LineRecords(bytes, columns: columns)
  }
}

/// A file with one JSON object a line. Blank lines are skipped.
final class LineRecords: RecordReader {
  /// A row longer than this is taken for a file that is not what its name says.
  static let maximumLine = 1 << 28

  private let buffer: ByteBuffer
  private let wanted: Set<JSON.Text>
  private var scanned = 0
  private var line: Int

  /// - Parameter buffer: at the first line that is not blank.
  init(_ buffer: ByteBuffer, columns: [String]) {
    self.buffer = buffer
    wanted = Set(columns.map { JSON.Text($0) })
    line = buffer.bytes[..<buffer.start].count { $0 == 0x0A }
    scanned = buffer.start
  }

  func next() throws -> Record? {
    while let range = try nextLine() {
      line += 1
      let text = buffer.bytes[range]
      if text.allSatisfy(isSpace) { continue }
      let place = "\(buffer.file.name):\(line)"
      func wrong(_ error: JSONError) -> DatasetError { DatasetError("\(place): the line is \(error)\(advice(text))") }
      let members: JSON.Members
      do throws(JSONError) { members = try JSON.Members(parsing: text, wanted: wanted) } catch {
        if let other = try? JSON(parsing: text), other.object == nil {
          throw DatasetError("\(place): the line holds \(other.kind), where an object of columns should be")
        }
        throw wrong(error)
      }
      return Record(names: members.names.map(\.description), place: place) { column in
        do throws(JSONError) { return try members.value(JSON.Text(column)) } catch { throw wrong(error) }
      }
    }
    return nil
  }

  private func advice(_ text: ArraySlice<UInt8>) -> String {
    guard line == 1, text.first == UInt8(ascii: "{"), text.count <= 2 || text.last == UInt8(ascii: ",") else {
      return ""
    }
    return ". One object over several lines is not read: write one object a line, or a list of objects"
  }

  /// Where the next line is in the buffer, without its line feed.
  private func nextLine() throws -> Range<Int>? {
    while true {
      if let end = buffer.bytes[scanned...].firstIndex(of: 0x0A) {
        let start = buffer.start
        (buffer.start, scanned) = (end + 1, end + 1)
        return start..<end
      }
      let rest = buffer.bytes.count - buffer.start
      guard rest <= Self.maximumLine else {
        throw DatasetError(
          "\(buffer.file.name):\(line + 1): the line has more than \(Self.maximumLine) bytes; a .jsonl file holds one "
            + "JSON object a line")
      }
      if try buffer.more() {
        scanned = rest
        continue
      }
      let all = buffer.start..<buffer.bytes.count
      (buffer.start, scanned) = (all.upperBound, all.upperBound)
      return all.isEmpty ? nil : all
    }
  }
}

/// A file of text, each line of it a row with one column, `text`.
final class TextRecords: RecordReader {
  private let buffer: ByteBuffer
  private var line = 0
  private var scanned: Int

  init(_ buffer: ByteBuffer) {
    self.buffer = buffer
    scanned = buffer.start
  }

  func next() throws -> Record? {
    while true {
      let bytes = buffer.bytes
      let end = bytes[scanned...].firstIndex { $0 == 0x0A || $0 == 0x0D }
      // A carriage return may be the first half of a line's end.
      if let end, end + 1 < bytes.count || bytes[end] == 0x0A || buffer.atEnd {
        let isPair = bytes[end] == 0x0D && end + 1 < bytes.count && bytes[end + 1] == 0x0A
        return try record(buffer.start..<end, next: end + (isPair ? 2 : 1))
      }
      let rest = bytes.count - buffer.start
      guard rest <= LineRecords.maximumLine else {
        throw DatasetError(
          "\(buffer.file.name):\(line + 1): the line has more than \(LineRecords.maximumLine) bytes; is this text?")
      }
      let isMore = try buffer.more()
      scanned = buffer.start + (end == nil ? rest : rest - 1)
      if isMore || end != nil { continue }
      return rest == 0 ? nil : try record(buffer.start..<scanned, next: scanned)
    }
  }

  private func record(_ range: Range<Int>, next: Int) throws -> Record {
    line += 1
    let place = "\(buffer.file.name):\(line)"
    let text = Array(buffer.bytes[range])
    (buffer.start, scanned) = (next, next)
    return Record(names: ["text"], place: place) { column in
      guard column == "text" else { return nil }
      guard String(validating: text, as: UTF8.self) != nil else { throw DatasetError("\(place): it is not UTF-8 text") }
      return .string(JSON.Text(utf8: text))
    }
  }
}
