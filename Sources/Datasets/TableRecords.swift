import CParquet
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The library that reads Parquet, Arrow's own format and compressed files, opened when the first such file is.
public enum ParquetLibrary {
  /// Opens it, to find out whether it works.
  ///
  /// - Throws: `DatasetError` that says what was looked for and what to do.
  public static func load() throws { _ = try api() }

  // The table is a constant of the library, which is never closed.
  nonisolated(unsafe) private static let opened: Result<UnsafePointer<cp_api>, DatasetError> = {
    var api: UnsafePointer<cp_api>?
    if let error = cp_open(&api) {
      return .failure(DatasetError("Parquet, Arrow and compressed files cannot be read: \(take(error))"))
    }
    guard let api else {
      return .failure(DatasetError("Parquet, Arrow and compressed files cannot be read: the library is empty"))
    }
    return .success(api)
  }()

  static func api() throws -> cp_api { try opened.get().pointee }

  static func take(_ error: UnsafeMutablePointer<CChar>) -> String {
    defer { free(error) }
    return String(cString: error)
  }
}

/// The rows of a Parquet or Arrow file: some hundred at a time, the named columns only.
final class TableRecords: RecordReader {
  /// What messages call the file.
  let name: String
  /// The file's top-level columns, in its order.
  let columns: [String]

  private let kind: DataFormat.Kind
  private let api: cp_api
  private let file: OpaquePointer
  private let selected: [String]
  private var batch: [cp_column] = []
  private var rows = 0
  private var row = 0
  private var rowsBefore = 0

  init(_ path: String, name: String? = nil, _ format: DataFormat, columns wanted: [String]) throws {
    // Says what is wrong with the path in our words, and keeps Arrow from waiting for a pipe.
    _ = try InputFile(path, name: name)
    let (name, kind) = (name ?? path, format.kind)
    (self.name, self.kind) = (name, kind)
    let api = try ParquetLibrary.api()
    func check(_ error: cp_error?) throws {
      if let error { throw Self.damaged(name, kind, ParquetLibrary.take(error)) }
    }
    var opened: OpaquePointer?
    try check(
      api.open(path, kind == .arrow ? CP_ARROW.rawValue : CP_PARQUET.rawValue, format.compression.codec, &opened))
    guard let opened else { throw Self.damaged(name, kind, "it cannot be opened") }
    var names: [String] = []
    var indices: [Int64] = []
    do {
      var count: Int64 = 0
      try check(api.column_count(opened, &count))
      for column in 0..<count {
        var name: UnsafePointer<CChar>?
        try check(api.column_name(opened, column, &name))
        names.append(name.map { String(cString: $0) } ?? "")
      }
      indices = wanted.compactMap { name in names.firstIndex(of: name).map { Int64($0) } }
      if !indices.isEmpty { try check(api.select(opened, indices, Int64(indices.count))) }
    } catch {
      api.close(opened)
      throw error
    }
    self.api = api
    file = opened
    columns = names
    selected = indices.map { names[Int($0)] }
  }

  deinit { api.close(file) }

  func next() throws -> Record? {
    guard !selected.isEmpty else {
      throw DatasetError("\(name) has none of the columns that are wanted; it has \(list(columns))")
    }
    if row == rows { try readBatch() }
    guard row < rows else { return nil }
    defer { row += 1 }
    let place = "\(name), row \(rowsBefore + row + 1)"
    return Record(names: columns, place: place) { [self, row] name in
      guard let at = selected.firstIndex(of: name) else { return nil }
      return try value(batch[at], row, name, place)
    }
  }

  private func readBatch() throws {
    rowsBefore += rows
    (row, rows) = (0, 0)
    var count: Int64 = 0
    try check(api.next(file, &count))
    batch = []
    for at in selected.indices {
      var column = cp_column()
      try check(api.column(file, Int64(at), &column))
      guard column.rows == count else { throw Self.damaged(name, kind, "its columns differ in length") }
      batch.append(column)
    }
    rows = Int(count)
  }

  private func value(_ column: cp_column, _ row: Int, _ name: String, _ place: String) throws -> JSON {
    guard let valid = column.valid, let offsets = column.offsets, let integers = column.integers, valid[row] != 0 else {
      return .null
    }
    if column.kind == CP_UNREADABLE.rawValue {
      let reason = column.reason.map { String(cString: $0) } ?? "of a kind that is not read"
      throw DatasetError("\(place): column \"\(name)\" cannot be read: \(reason)")
    }
    if column.kind == CP_INTEGER.rawValue { return .int(Int(integers[row])) }
    let bytes = UnsafeBufferPointer(
      start: column.bytes.map { $0 + Int(offsets[row]) }, count: Int(offsets[row + 1] - offsets[row]))
    if column.kind == CP_JSON.rawValue {
      do { return try JSON(parsing: bytes) } catch {
        throw DatasetError("\(place): column \"\(name)\" cannot be read: \(error)")
      }
    }
    guard bytes.allSatisfy({ $0 < 0x80 }) || String(validating: bytes, as: UTF8.self) != nil else {
      throw DatasetError("\(place): column \"\(name)\" is not UTF-8 text")
    }
    return .string(JSON.Text(utf8: Array(bytes)))
  }

  private func check(_ error: cp_error?) throws {
    if let error { throw Self.damaged(name, kind, ParquetLibrary.take(error)) }
  }

  private static func damaged(_ name: String, _ kind: DataFormat.Kind, _ reason: String) -> DatasetError {
    DatasetError("\(name) cannot be read as \(kind == .arrow ? "Arrow" : "Parquet"): \(reason)")
  }
}

/// Names for a message, not too many of them.
func list(_ names: [String]) -> String {
  if names.isEmpty { return "none" }
  return names.prefix(20).map { "\"\($0)\"" }.joined(separator: ", ") + (names.count > 20 ? ", …" : "")
}
