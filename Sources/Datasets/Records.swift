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

/// Opens a `.jsonl` or `.parquet` file. Of a Parquet file only the named columns are read, as far as it has them.
func openRecords(_ path: String, columns: [String]) throws -> any RecordReader {
  path.hasSuffix(".parquet") ? try ParquetRecords(path, columns: columns) : try LineRecords(path, columns: columns)
}

/// A file with one JSON object a line. Blank lines are skipped.
final class LineRecords: RecordReader {
  /// A line longer than this is taken for a file that is not what its name says.
  static let maximumLine = 1 << 28

  private let file: InputFile
  private let wanted: Set<JSON.Text>
  private var buffer: [UInt8] = []
  private var start = 0
  private var scanned = 0
  private var atEnd = false
  private var line = 0

  init(_ path: String, columns: [String]) throws {
    file = try InputFile(path)
    wanted = Set(columns.map { JSON.Text($0) })
  }

  func next() throws -> Record? {
    while let range = try nextLine() {
      line += 1
      var text = buffer[range]
      // Some editors put a byte order mark there.
      if line == 1, text.starts(with: [0xEF, 0xBB, 0xBF]) { text = text.dropFirst(3) }
      if text.allSatisfy({ [0x20, 0x09, 0x0D].contains($0) }) { continue }
      let place = "\(file.path):\(line)"
      func wrong(_ error: JSONError) -> DatasetError { DatasetError("\(place): the line is \(error)") }
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

  /// Where the next line is in the buffer, without its line feed.
  private func nextLine() throws -> Range<Int>? {
    while true {
      if let end = buffer[scanned...].firstIndex(of: 0x0A) {
        defer { (start, scanned) = (end + 1, end + 1) }
        return start..<end
      }
      scanned = buffer.count
      if atEnd {
        defer { start = buffer.count }
        return start < buffer.count ? start..<buffer.count : nil
      }
      guard buffer.count - start <= Self.maximumLine else {
        throw DatasetError(
          "\(file.path):\(line + 1): the line has more than \(Self.maximumLine) bytes; a .jsonl file holds one JSON "
            + "object a line")
      }
      buffer.removeSubrange(..<start)
      (start, scanned) = (0, scanned - start)
      let had = buffer.count
      let more = max(1 << 16, min(had, 1 << 24))
      buffer.append(contentsOf: repeatElement(0, count: more))
      let count = try buffer.withUnsafeMutableBytes { bytes in
        try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[had...]))
      }
      buffer.removeSubrange((had + count)...)
      atEnd = count == 0
    }
  }
}
