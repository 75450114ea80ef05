internal import JSON

/// The `added_tokens` of a tokenizer file: found in the text before the model sees it.
struct AddedTokens: Sendable {
  struct Token: Sendable, Equatable {
    let content: [UInt8]
    let isSpecial: Bool
    let isSingleWord: Bool
    let stripsLeft: Bool
    let stripsRight: Bool
    /// Nil where nothing was said: then special tokens are not, and others are.
    private let normalization: Bool?
    var isNormalized: Bool { normalization ?? !isSpecial }

    init(
      content: [UInt8], isSpecial: Bool, isSingleWord: Bool = false, stripsLeft: Bool = false,
      stripsRight: Bool = false, isNormalized: Bool? = nil
    ) {
      self.content = content
      self.isSpecial = isSpecial
      self.isSingleWord = isSingleWord
      self.stripsLeft = stripsLeft
      self.stripsRight = stripsRight
      normalization = isNormalized
    }

    /// A token as `tokenizer.json` and `added_tokens_decoder` have it.
    init(_ entry: Field) throws {
      self.init(
        content: try entry.required("content").bytes(), isSpecial: try entry.bool("special", default: false),
        isSingleWord: try entry.bool("single_word", default: false),
        stripsLeft: try entry.bool("lstrip", default: false), stripsRight: try entry.bool("rstrip", default: false),
        isNormalized: try entry.optional("normalized")?.bool())
    }

    /// The same token, special.
    var special: Token {
      Token(
        content: content, isSpecial: true, isSingleWord: isSingleWord, stripsLeft: stripsLeft,
        stripsRight: stripsRight, isNormalized: normalization)
    }
  }

  /// A stretch of text that is a token, or none.
  struct Stretch {
    let id: Int?
    let start: Int
    let end: Int
  }

  private var tokens: [Int: Token] = [:]
  private(set) var ids: [[UInt8]: Int] = [:]
  /// What normalization makes of the tokens it changes.
  private var normalized: [Int: [UInt8]] = [:]
  private var specials: Set<[UInt8]> = []
  /// Ids of tokens that were normalized when they came, whatever was said of them later: the oracle goes on decoding
  /// those in their normalized spelling.
  private var onceNormalized: Set<Int> = []
  /// Tokens looked for in the text as it is, and after normalization.
  private(set) var verbatim: ByteTrie?
  private(set) var afterNormalization: ByteTrie?

  /// The ids are those of the model's vocabulary, or the next free ones in order. The oracle does not use the ids
  /// written in the file; where those differ, so would its answers.
  ///
  /// - Parameter settings: what the files beside the tokenizer add to its own list.
  init(_ field: Field?, _ settings: TokenSettings, model: any Model, normalizer: Normalizer?, file: String) throws {
    let own = try (field?.elements() ?? []).map { entry in
      _ = try entry.required("id").id()
      return try Token(entry)
    }
    add(own, to: model)
    add(settings.additions(to: ids.keys), to: model)
    let effort = Effort(bytes: tokens.values.reduce(0) { $0 + $1.content.count }, file: file)
    for (id, token) in tokens.sorted(by: { $0.key < $1.key }) {
      var pattern = token.content
      if onceNormalized.contains(id) {
        var origin = true
        let content = try token.content.withUnsafeBufferPointer { content in
          try normalizer?.normalize(content, atOrigin: &origin, effort)
        }
        if let content, content != token.content { normalized[id] = content }
        pattern = content ?? token.content
      }
      guard token.isNormalized else {
        verbatim = verbatim ?? ByteTrie()
        verbatim?.insert(token.content, id)
        continue
      }
      if pattern.isEmpty { continue }
      afterNormalization = afterNormalization ?? ByteTrie()
      afterNormalization?.insert(pattern, id)
    }
  }

  /// Adds some tokens at once: those that are new get the ids after the largest there is when they come.
  private mutating func add(_ new: [Token], to model: any Model) {
    var next = max(model.vocabularyCount, (ids.values.max() ?? -1) + 1)
    for token in new where !token.content.isEmpty {
      let known = ids[token.content] ?? model.id(of: token.content)
      let id = known ?? next
      if known == nil { next += 1 }
      ids[token.content] = id
      tokens[id] = token
      if token.isSpecial { specials.insert(token.content) }
      if token.isNormalized { onceNormalized.insert(id) }
    }
  }

  /// All tokens with their ids and flags: two lists that are alike find the same tokens in any text.
  var json: JSON {
    .array(
      ids.sorted { ($0.value, $0.key.count) < ($1.value, $1.key.count) }.map { content, id in
        let token = tokens[id]
        let flags = [
          token?.isSpecial, token?.isSingleWord, token?.stripsLeft, token?.stripsRight, token?.isNormalized,
        ]
        return .array([.int(id), .string(JSON.Text(utf8: content))] + flags.map { .bool($0 ?? false) })
      })
  }

  func id(of token: [UInt8]) -> Int? { ids[token] }

  /// The token as it was written.
  func content(of id: Int) -> [UInt8]? { tokens[id]?.content }

  /// The token as decoding spells it.
  func spelling(of id: Int) -> [UInt8]? { normalized[id] ?? tokens[id]?.content }

  func isSpecial(_ token: [UInt8]) -> Bool { specials.contains(token) }

  /// Cuts text at the tokens of `trie`: leftmost, then longest.
  func cut(_ text: UnsafeBufferPointer<UInt8>, _ trie: ByteTrie?, _ effort: Effort) throws -> [Stretch] {
    guard let trie else { return text.isEmpty ? [] : [Stretch(id: nil, start: 0, end: text.count)] }
    var stretches: [Stretch] = []
    var done = 0
    var at = 0
    while at < text.count {
      guard trie.canStart(text[at]) else {
        at += 1
        continue
      }
      let (found, walked) = trie.longest(in: text, at: at)
      try effort.spend(walk: walked, "the search for added tokens")
      guard let (id, matchEnd) = found, let token = tokens[id] else {
        at += 1
        continue
      }
      var start = at
      var end = matchEnd
      at = matchEnd
      if token.isSingleWord, Self.isWord(before: start, text) || Self.isWord(at: end, text) { continue }
      if token.stripsLeft {
        while start > 0 {
          let before = scalarStart(in: text, before: start)
          if !ScalarClass.isWhitespace(scalar(in: text, at: before).value) { break }
          start = before
        }
        start = max(start, done)
      }
      if token.stripsRight {
        while end < text.count {
          let (value, length) = scalar(in: text, at: end)
          if !ScalarClass.isWhitespace(value) { break }
          end += length
        }
      }
      if done < start { stretches.append(Stretch(id: nil, start: done, end: start)) }
      if end > start { stretches.append(Stretch(id: id, start: start, end: end)) }
      done = end
    }
    if done < text.count { stretches.append(Stretch(id: nil, start: done, end: text.count)) }
    return stretches
  }

  private static func isWord(before at: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
    at > 0 && ScalarClass.isWord(scalar(in: text, at: scalarStart(in: text, before: at)).value)
  }

  private static func isWord(at: Int, _ text: UnsafeBufferPointer<UInt8>) -> Bool {
    at < text.count && ScalarClass.isWord(scalar(in: text, at: at).value)
  }
}
