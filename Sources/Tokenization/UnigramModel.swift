internal import JSON

/// The unigram language model: of all ways to cut a word into tokens, the one with the highest sum of scores
/// (Kudo, https://arxiv.org/abs/1804.10959), found as SentencePiece's `EncodeOptimized` does.
final class UnigramModel: Model {
  private let vocabulary: Vocabulary
  private let scores: [Double]
  private let trie: ByteTrie
  private let unknownID: Int?
  private let unknownScore: Double
  private let byteTokens: [Int32]?
  private let file: String

  let takesBytes = false
  var vocabularyCount: Int { scores.count }
  func id(of token: [UInt8]) -> Int? { vocabulary.id(of: token) }
  func token(of id: Int) -> [UInt8]? { tokens.indices.contains(id) ? tokens[id] : nil }
  private let tokens: [[UInt8]]

  init(_ field: Field) throws {
    file = field.file
    let list = try field.required("vocab")
    var tokens: [[UInt8]] = []
    var scores: [Double] = []
    for entry in try list.elements() {
      guard let pair = entry.value.array, pair.count == 2, let token = pair[0].text, let score = pair[1].asReadBySerde,
        score.isFinite
      else { throw entry.error("expected a token and its score") }
      tokens.append(token.utf8)
      scores.append(score)
    }
    unknownID = try field.optional("unk_id")?.count()
    if let unknownID, unknownID >= tokens.count {
      throw field.error("unk_id \(unknownID) is outside the vocabulary of \(tokens.count)")
    }
    var trie = ByteTrie(capacity: tokens.count * 4)
    for (id, token) in tokens.enumerated() where !token.isEmpty { trie.insert(token, id) }
    self.trie = trie
    self.tokens = tokens
    self.scores = scores
    // SentencePiece's kUnkPenalty.
    unknownScore = (scores.min() ?? .infinity) - 10
    vocabulary = Vocabulary(tokens)
    byteTokens = try field.bool("byte_fallback", default: false) ? vocabulary.byteTokens : nil
  }

  func encode(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    try scratch.cached(word, to: &out) { scratch, out in try cut(word, scratch.effort, to: &out) }
  }

  private var missingUnknown: TokenizerError {
    TokenizerError("\(file): model: the text has a character outside the vocabulary, and unk_id is not set")
  }

  private func cut(_ word: UnsafeBufferPointer<UInt8>, _ effort: Effort, to out: inout [Int]) throws {
    var best = [(id: Int32, start: Int32, score: Double)](repeating: (0, -1, 0), count: word.count + 1)
    guard word.count < Int(Int32.max) else { throw TokenizerError("a word of \(word.count) bytes is too long") }
    var start = 0
    while start < word.count {
      let here = best[start].score
      let length = scalar(in: word, at: start).length
      var hasOwn = false
      var node = ByteTrie.root
      var end = start
      while end < word.count, let next = trie.child(node, word[end]) {
        node = next
        end += 1
        guard let id = trie.leaf(node) else { continue }
        let score = scores[id] + here
        if best[end].start < 0 || score > best[end].score { best[end] = (Int32(id), Int32(start), score) }
        if end - start == length { hasOwn = true }
      }
      try effort.spend(walk: end - start, "the vocabulary")
      if !hasOwn {
        let score = unknownScore + here
        let end = start + length
        if best[end].start < 0 || score > best[end].score {
          guard let unknownID else { throw missingUnknown }
          best[end] = (Int32(unknownID), Int32(start), score)
        }
      }
      start += length
    }
    var pieces: [(id: Int, start: Int, end: Int)] = []
    var end = word.count
    while end > 0 {
      let node = best[end]
      // Neighbouring unknown pieces are one.
      if Int(node.id) == unknownID, let last = pieces.last, last.id == unknownID, last.start == end {
        pieces[pieces.count - 1].start = Int(node.start)
      } else {
        pieces.append((Int(node.id), Int(node.start), end))
      }
      end = Int(node.start)
    }
    for piece in pieces.reversed() {
      try append(piece, of: UnsafeBufferPointer(rebasing: word[piece.start..<piece.end]), to: &out)
    }
  }

  private func append(
    _ piece: (id: Int, start: Int, end: Int), of text: UnsafeBufferPointer<UInt8>, to out: inout [Int]
  ) throws {
    // Even a fused unknown piece counts as what it spells, when that is a token.
    if let id = vocabulary.id(of: text) { return out.append(id) }
    if let byteTokens, text.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
      for byte in text { out.append(Int(byteTokens[Int(byte)])) }
      return
    }
    guard let unknownID else { throw missingUnknown }
    out.append(unknownID)
  }
}
