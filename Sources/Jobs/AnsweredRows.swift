import Files
import Foundation
import JSON
import Messages
import Minitron

/// Rows that are written as they are found, in any order, so that a run that is ended goes on with the others: the file
/// `NAME.partial` beside the output. Its first line says what the rows are made of; a last line that is not whole is cut off.
final class AnsweredRows {
  /// The rows that are there, by their numbers.
  private(set) var rows: [Int: JSON] = [:]
  private let file: OpenFile
  let path: String

  /// What the first line begins with.
  private static let start = Array(#"{"made_of""#.utf8)
  /// Rows take some kilobytes each.
  private static let limit = 8 << 30

  /// - Parameters:
  ///   - output: the file that all rows go to in the end.
  ///   - count: of rows in all.
  ///   - isFresh: rows that are there are thrown away.
  /// - Throws: `RunError` for rows of something else, or damaged ones; `FileError`.
  init(besideOutput output: String, fingerprint: Fingerprint, count: Int, isFresh: Bool) throws {
    path = output + ".partial"
    file = try OpenFile.updating(path)
    let bytes = try WholeFile.read(path, limit: Self.limit)
    var end = 0
    // A file of somebody else's is left alone, whatever is asked.
    guard bytes.isEmpty || bytes.starts(with: Self.start.prefix(bytes.count)) else {
      throw RunError(
        "\(path) would be used for rows meanwhile, and holds something else; move it, or name another \(parameter: "out")"
      )
    }
    if !isFresh, let line = Self.line(bytes, from: 0) {
      let advice = "pass \(parameter: "fresh") to begin again, or name another \(parameter: "out")" as Message
      guard let first = try? JSON(parsing: line) else { throw RunError("\(path), line 1, is damaged; " + advice) }
      let differences = fingerprint.differences(from: first["made_of"])
      guard differences.isEmpty else {
        throw RunError(
          "\(path) is of an earlier run that was asked for something else (\(differences.joined(separator: "; "))): "
            + advice)
      }
      end = line.endIndex + 1
      var number = 1
      while let line = Self.line(bytes, from: end) {
        number += 1
        guard let row = try? JSON(parsing: line), let place = row["row"]?.int, (0..<count).contains(place),
          let value = row["value"], value["messages"]?.array != nil, rows[place] == nil
        else { throw RunError("\(path), line \(number), is damaged; " + advice) }
        rows[place] = value
        end = line.endIndex + 1
      }
    }
    try file.truncate(to: end)
    if end == 0 { try write(.object([("made_of", fingerprint.json)])) }
  }

  /// A whole line; nil where none ends.
  private static func line(_ bytes: [UInt8], from start: Int) -> ArraySlice<UInt8>? {
    bytes[start...].firstIndex(of: UInt8(ascii: "\n")).map { bytes[start..<$0] }
  }

  private func write(_ line: JSON) throws {
    try Array((line.serialized() + "\n").utf8).withUnsafeBytes { try file.write($0) }
  }

  func add(_ row: Int, _ value: JSON) throws {
    try write(.object([("row", .int(row)), ("value", value)]))
    rows[row] = value
  }

  /// Writes all rows in their order to the output, which appears whole, and removes what was kept meanwhile.
  func publish(to output: String) throws {
    let lines = rows.sorted { $0.key < $1.key }.map { $0.value.serialized() + "\n" }
    try Array(lines.joined().utf8).withUnsafeBytes { try AtomicFile.write($0, to: output, replaces: false) }
    try? FileManager.default.removeItem(atPath: path)
  }
}
