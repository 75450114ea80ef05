import JSON

/// A file of values between separators, the first line with the columns' names, as pandas reads it for `datasets`:
/// quotes count at the start of a value only and are doubled inside, lines that are blank are skipped, missing values at
/// the end of a line and words like `NA` are null.
///
/// Arrow's reader refuses lines that are too short, which pandas fills, and cannot say which line is wrong.
final class CSVRecords: RecordReader {
  /// What pandas takes for a missing value.
  private static let nulls = Set(
    [
      "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
      "NULL", "NaN", "None", "n/a", "nan", "null",
    ].map { Array($0.utf8) })

  private static let maximumColumns = 1 << 16

  private let buffer: ByteBuffer
  private let separator: UInt8
  private let names: [String]
  /// Values at the start of each line that have no name: pandas takes them for an index.
  private var unnamed: Int?
  /// The line that is read next, from 1.
  private var line = 1

  init(_ buffer: ByteBuffer, separator: UInt8) throws {
    self.buffer = buffer
    self.separator = separator
    names = try (Self.values(buffer, separator, &line) ?? []).map { value in
      guard let name = String(validating: value, as: UTF8.self) else {
        throw DatasetError("\(buffer.file.name): a column's name is not UTF-8 text")
      }
      return name
    }
  }

  func next() throws -> Record? {
    let began = line
    guard let values = try Self.values(buffer, separator, &line) else { return nil }
    let place = "\(buffer.file.name):\(began)"
    let skipped = unnamed ?? max(0, values.count - names.count)
    unnamed = skipped
    guard values.count <= names.count + skipped else {
      throw DatasetError(
        "\(place): the line has \(values.count) values, where the first line names \(names.count) columns; values with a "
          + "separator or a quote in them stand in quotes")
    }
    return Record(names: names, place: place) { [names] column in
      guard let index = names.firstIndex(of: column), index + skipped < values.count else {
        return names.contains(column) ? .null : nil
      }
      let value = values[index + skipped]
      if Self.nulls.contains(value) { return .null }
      guard value.allSatisfy({ $0 < 0x80 }) || String(validating: value, as: UTF8.self) != nil else {
        throw DatasetError("\(place): column \"\(column)\" is not UTF-8 text")
      }
      return .string(JSON.Text(utf8: value))
    }
  }

  private enum State { case lineStart, blank, valueStart, value, quoted, quoteInQuoted }

  /// The values of the next line that is not blank; nil at the end of the file.
  private static func values(_ buffer: ByteBuffer, _ separator: UInt8, _ line: inout Int) throws -> [[UInt8]]? {
    var values: [[UInt8]] = []
    var value: [UInt8] = []
    var state = State.lineStart
    var size = 0
    let first = line
    func end() throws {
      guard values.count < maximumColumns else {
        throw DatasetError("\(buffer.file.name):\(first): the line has more than \(maximumColumns) values")
      }
      values.append(value)
      value = []
    }
    while let byte = try next(buffer) {
      let isEnd = byte == 0x0A || byte == 0x0D
      if isEnd, state != .quoted {
        buffer.start += 1
        if byte == 0x0D, try next(buffer) == 0x0A { buffer.start += 1 }
        line += 1
        if state == .lineStart || state == .blank {
          (state, value) = (.lineStart, [])
          continue
        }
        try end()
        return values
      }
      buffer.start += 1
      size += 1
      guard size <= LineRecords.maximumLine else {
        throw DatasetError(
          "\(buffer.file.name):\(first): the line has more than \(LineRecords.maximumLine) bytes; is a quote missing?")
      }
      switch state {
      case .quoted:
        if byte == UInt8(ascii: "\"") {
          state = .quoteInQuoted
        } else {
          if byte == 0x0A { line += 1 }
          value.append(byte)
        }
      case .quoteInQuoted where byte == UInt8(ascii: "\""):
        value.append(byte)
        state = .quoted
      case .lineStart where byte == UInt8(ascii: "\""), .valueStart where byte == UInt8(ascii: "\""): state = .quoted
      case _ where byte == separator:
        try end()
        state = .valueStart
      case .lineStart, .blank:
        value.append(byte)
        state = byte == 0x20 || byte == 0x09 ? .blank : .value
      default:
        value.append(byte)
        state = .value
      }
    }
    switch state {
    case .lineStart, .blank: return nil
    case .quoted:
      throw DatasetError("\(buffer.file.name):\(first): the file ends inside a value that begins with a quote")
    default:
      try end()
      return values
    }
  }

  private static func next(_ buffer: ByteBuffer) throws -> UInt8? {
    if buffer.start == buffer.bytes.count {
      guard try buffer.more() else { return nil }
    }
    return buffer.bytes[buffer.start]
  }
}
