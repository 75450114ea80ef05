public import JSON

/// Token ids as a model's JSON files give them: one number, a list of them, or none. Null and an empty object stand for none, and so
/// do negative numbers: `pad_token_id: -1` has meant that since the first Llama.
public struct TokenIDs: Sendable, Equatable {
  public let ids: [Int]

  /// - Throws: `TokenizerError` for anything else; its message continues a sentence that begins with the field.
  public init(_ value: JSON?) throws(TokenizerError) {
    var ids: [Int] = []
    for item in value.map({ $0.array ?? [$0] }) ?? [] where !item.isNull && item.object?.count != 0 {
      guard case .number(let number) = item else {
        throw TokenizerError("should be a number or a list of numbers, found \(item.kind)")
      }
      if number.double.map({ $0 < 0 }) ?? false { continue }
      guard let id = number.int, id <= Int(Int32.max) else {
        throw TokenizerError("is \(number.spelling.prefix(40)), which is no token id")
      }
      ids.append(id)
    }
    self.ids = ids
  }
}
