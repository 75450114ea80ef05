internal import JSON

/// The vocabulary of a model: tokens by their bytes, ids to tokens.
struct Vocabulary: Sendable {
  private(set) var table: ByteTable
  private var places: [Int: Int] = [:]

  /// Reads an object from token to id.
  init(_ field: Field) throws {
    let object = try field.object()
    table = ByteTable(capacity: object.count)
    places.reserveCapacity(object.count)
    for (token, value) in object {
      guard let id = value.int, id >= 0, id <= Int(Int32.max) else {
        throw field.error(
          "token \"\(token)\": expected an id from 0 to \(Int32.max), found \(Field.spell(value))")
      }
      add(token.utf8, id)
    }
  }

  /// Tokens in the order of their ids.
  init(_ tokens: [[UInt8]]) {
    table = ByteTable(capacity: tokens.count)
    for (id, token) in tokens.enumerated() { add(token, id) }
  }

  private mutating func add(_ token: [UInt8], _ id: Int) {
    table.insert(token, id)
    places[id] = table.count - 1
  }

  var count: Int { table.count }

  func id(of token: UnsafeBufferPointer<UInt8>) -> Int? { table.find(token) }
  func id(of token: [UInt8]) -> Int? { table.find(token) }
  func token(of id: Int) -> ArraySlice<UInt8>? { places[id].map(table.key) }

  /// Ids of `<0x00>` … `<0xFF>`, -1 where there is none.
  var byteTokens: [Int32] {
    (0..<256).map { byte in
      let digits = String(byte, radix: 16, uppercase: true)
      return Int32(id(of: Array("<0x\(byte < 16 ? "0" : "")\(digits)>".utf8)) ?? -1)
    }
  }
}
