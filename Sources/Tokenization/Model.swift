internal import JSON

/// What cuts one word into ids.
protocol Model: Sendable {
  /// Whether words come as plain bytes where the file has GPT-2's byte characters.
  var takesBytes: Bool { get }
  /// The number of entries of the vocabulary.
  var vocabularyCount: Int { get }
  func id(of token: [UInt8]) -> Int?
  func token(of id: Int) -> [UInt8]?
  /// Ids in the model's own vocabulary, for the largest id there is.
  func encode(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws
}

/// What one encoding at a time uses and the next one can use again.
struct Scratch {
  var cache = WordCache()
  var merges = MergeScratch()
  var ids: [Int] = []
  /// What the text at hand may take.
  var effort = Effort(bytes: 0, file: "")

  /// Appends the ids of a word, from the cache or else from `encode`.
  @inline(__always)
  mutating func cached(
    _ word: UnsafeBufferPointer<UInt8>, to out: inout [Int],
    _ encode: (inout Scratch, inout [Int]) throws -> Void
  ) rethrows {
    if word.count > WordCache.maximumWord { return try encode(&self, &out) }
    let hash = hash(word)
    if cache.append(word, hash: hash, to: &out) { return }
    let start = out.count
    try encode(&self, &out)
    cache.insert(word, hash: hash, out[start...])
  }
}

enum Models {
  static let names = ["BPE", "Unigram", "WordPiece", "WordLevel"]

  /// Reads the `model` of a tokenizer file. Old files name no type; it shows in what else they have.
  /// - Parameter byteLevel: whether the pre-tokenizer ends in `ByteLevel`.
  static func load(_ field: Field, byteLevel: Bool) throws -> any Model {
    let type: String =
      if let type = try field.optional("type") {
        try type.string()
      } else if try field.optional("merges") != nil {
        "BPE"
      } else if try field.optional("vocab")?.value.array != nil {
        "Unigram"
      } else if try field.optional("max_input_chars_per_word") != nil {
        "WordPiece"
      } else {
        "WordLevel"
      }
    switch type {
    case "BPE": return try BytePairModel(field, byteLevel: byteLevel)
    case "Unigram": return try UnigramModel(field)
    case "WordPiece": return try WordPieceModel(field)
    case "WordLevel": return try WordLevelModel(field)
    default: throw field.unknown("model", type, known: names)
    }
  }
}
