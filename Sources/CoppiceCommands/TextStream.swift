package import Tokenization

/// Text of tokens as they come, in whole characters.
///
/// What a token says may depend on the one before (a leading space) and on the one after (the rest of a
/// character): so the difference that a token makes to its predecessors' text is given out, and only once it does
/// not end in the middle of a character.
package struct TextStream {
  private let tokenizer: Tokenizer
  /// Context, tokens given out already, and tokens held back.
  private var tokens: [Int]
  private var given: Int

  /// - Parameter prompt: what comes before, and is not given out.
  package init(_ tokenizer: Tokenizer, after prompt: [Int] = []) {
    self.tokenizer = tokenizer
    tokens = prompt
    given = tokens.count
  }

  /// The text that can be given out now: none, or that of a few tokens.
  package mutating func append(_ token: Int) throws -> String {
    // A model's vocabulary may be padded with rows that no token has.
    guard tokenizer.token(of: token) != nil else { return "" }
    tokens.append(token)
    return try take(final: false)
  }

  /// What was held back.
  package mutating func finish() throws -> String { try take(final: true) }

  private mutating func take(final: Bool) throws -> String {
    let before = try Array(tokenizer.decode(Array(tokens[..<given]), skipSpecialTokens: true).utf8)
    let text = try tokenizer.decode(tokens, skipSpecialTokens: true)
    let bytes = Array(text.utf8)
    guard bytes.count > before.count, final || text.unicodeScalars.last != "\u{FFFD}" else { return "" }
    // What was given out last is kept as context: a cut anywhere else could fall into the bytes of a character.
    tokens.removeFirst(given)
    given = tokens.count
    return String(decoding: bytes[before.count...], as: UTF8.self)
  }
}
