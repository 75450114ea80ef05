import JSON

/// A file that is one JSON list: of objects, each a row, or of strings, each a row with one column, `text`.
final class ListRecords: RecordReader {
  private let buffer: ByteBuffer
  private let wanted: Set<JSON.Text>
  private var entry = 0
  private var isDone = false
  /// Whether the first entry is an object; the others are like it.
  private var holdsObjects: Bool?

  /// - Parameter buffer: at the list's bracket.
  init(_ buffer: ByteBuffer, columns: [String]) {
    self.buffer = buffer
    wanted = Set(columns.map { JSON.Text($0) })
    buffer.start += 1
  }

  func next() throws -> Record? {
    guard !isDone else { return nil }
    if try buffer.firstAfterSpace() == UInt8(ascii: "]") { return try finish() }
    if entry > 0 {
      guard try buffer.firstAfterSpace() == UInt8(ascii: ",") else {
        throw wrong("expected ',' or ']' after it")
      }
      buffer.start += 1
    }
    entry += 1
    guard try buffer.firstAfterSpace() != nil else { throw wrong("the file ends before it") }
    let text = try element()
    let place = "\(buffer.file.name), entry \(entry)"
    let isObject = text.first == UInt8(ascii: "{")
    guard holdsObjects ?? isObject == isObject, isObject || text.first == UInt8(ascii: "\"") else {
      throw wrong("it is \((try? JSON(parsing: text))?.kind ?? "none of both"), in a list of objects or one of strings")
    }
    holdsObjects = isObject
    func notJSON(_ error: JSONError) -> DatasetError { DatasetError("\(place): it is \(error)") }
    if isObject {
      let members: JSON.Members
      do throws(JSONError) { members = try JSON.Members(parsing: text, wanted: wanted) } catch { throw notJSON(error) }
      return Record(names: members.names.map(\.description), place: place) { column in
        do throws(JSONError) { return try members.value(JSON.Text(column)) } catch { throw notJSON(error) }
      }
    }
    let value: JSON
    do throws(JSONError) { value = try JSON(parsing: text) } catch { throw notJSON(error) }
    return Record(names: ["text"], place: place) { $0 == "text" ? value : nil }
  }

  private func finish() throws -> Record? {
    buffer.start += 1
    isDone = true
    guard try buffer.firstAfterSpace() == nil else {
      throw DatasetError("\(buffer.file.name): text after the end of its list; a .jsonl file holds one object a line")
    }
    return nil
  }

  private func wrong(_ reason: String) -> DatasetError {
    DatasetError("\(buffer.file.name), entry \(entry) of its list: \(reason)")
  }

  /// The bytes of the value that begins here, used.
  private func element() throws -> [UInt8] {
    var (at, depth, inString) = (buffer.start, 0, false)
    while true {
      while at < buffer.bytes.count {
        let byte = buffer.bytes[at]
        if inString {
          if byte == UInt8(ascii: "\\") { at += 1 } else if byte == UInt8(ascii: "\"") { inString = false }
        } else {
          switch byte {
          case UInt8(ascii: "\""): inString = true
          case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
          case UInt8(ascii: "]") where depth == 0, UInt8(ascii: ",") where depth == 0: return take(at)
          case UInt8(ascii: "]"), UInt8(ascii: "}"): depth -= 1
          default: break
          }
          if depth < 0 { throw wrong("a bracket closes what was not opened") }
        }
        at += 1
      }
      let had = at - buffer.start
      guard had <= LineRecords.maximumLine else { throw wrong("it has more than \(LineRecords.maximumLine) bytes") }
      guard try buffer.more() else { throw wrong("the file ends in it") }
      at = had
    }
  }

  private func take(_ end: Int) -> [UInt8] {
    var text = buffer.bytes[buffer.start..<end]
    while let last = text.last, isSpace(last) { text.removeLast() }
    defer { buffer.start = end }
    return Array(text)
  }
}

/// A file that is one JSON object, of which one member is the list of rows.
final class FieldRecords: RecordReader {
  private let rows: [JSON]
  private let name: String
  private var at = 0

  init(_ buffer: ByteBuffer, field: String) throws {
    name = buffer.file.name
    while try buffer.more() {
      guard buffer.bytes.count <= LineRecords.maximumLine else {
        throw DatasetError("\(name) has more than \(LineRecords.maximumLine) bytes, too many for one JSON object")
      }
    }
    let key = JSON.Text(field)
    let value: JSON?
    do throws(JSONError) {
      value = try JSON.Members(parsing: buffer.bytes[buffer.start...], wanted: [key]).value(key)
    } catch { throw DatasetError("\(name) is \(error)") }
    guard let rows = value?.array else {
      throw DatasetError(
        "\(name): its member \"\(field)\", which the card names as that of the rows, is "
          + (value.map { "\($0.kind), no list" } ?? "missing"))
    }
    self.rows = rows
  }

  func next() throws -> Record? {
    guard at < rows.count else { return nil }
    let row = rows[at]
    at += 1
    let place = "\(name), entry \(at)"
    if let object = row.object {
      return Record(names: object.map(\.key.description), place: place) { object[$0] }
    }
    guard row.text != nil else {
      throw DatasetError("\(place) is \(row.kind), where an object of columns or a text should be")
    }
    return Record(names: ["text"], place: place) { $0 == "text" ? row : nil }
  }
}
