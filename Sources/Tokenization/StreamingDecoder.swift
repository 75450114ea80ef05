/// Decodes ids as they come, for text that is shown while it is generated.
///
/// A character may need several tokens, and what a token spells may depend on the one before it, so new text is
/// the difference between two decodings of the last few ids, and waits while it ends in the middle of a character.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecialTokens: Bool
  /// The last ids whose text is out, and after `shown` of them those whose text is not.
  private var window: [Int] = []
  private var shown = 0

  public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
  }

  /// The text that is certain now and was not before; often empty.
  ///
  /// - Throws: `TokenizerError` for an id that is no token.
  public mutating func append(_ id: Int) throws -> String {
    let text = try difference(with: window + [id])
    window.append(id)
    // A part of a character shows as U+FFFD; one that never becomes whole comes out with `finish` or the next whole character.
    if text.isEmpty || text.unicodeScalars.last == "\u{FFFD}" { return "" }
    window.removeFirst(shown)
    shown = window.count
    return text
  }

  /// What was still held back.
  public mutating func finish() throws -> String {
    let text = try difference(with: window)
    window = []
    shown = 0
    return text
  }

  private func difference(with ids: [Int]) throws -> String {
    let before = try tokenizer.decode(Array(ids[..<shown]), skipSpecialTokens: skipSpecialTokens)
    let after = try tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens)
    if Array(after.utf8).starts(with: before.utf8) {
      return String(decoding: after.utf8.dropFirst(before.utf8.count), as: UTF8.self)
    }
    return try tokenizer.decode(Array(ids[shown...]), skipSpecialTokens: skipSpecialTokens)
  }
}
