internal import JSON

/// WordPiece, as BERT has it: the longest token first, from left to right.
final class WordPieceModel: Model {
  private let vocabulary: Vocabulary
  private let unknown: [UInt8]
  private let maximumCharacters: Int
  /// Tokens that begin a word, and those that go on one, without their prefix.
  private let beginning: ByteTrie
  private let continuing: ByteTrie
  private let file: String

  let takesBytes = false
  var vocabularyCount: Int { vocabulary.count }
  func id(of token: [UInt8]) -> Int? { vocabulary.id(of: token) }
  func token(of id: Int) -> [UInt8]? { vocabulary.token(of: id).map { Array($0) } }

  init(_ field: Field) throws {
    file = field.file
    vocabulary = try Vocabulary(field.required("vocab"))
    unknown = try field.required("unk_token").bytes()
    let prefix = try field.required("continuing_subword_prefix").bytes()
    maximumCharacters = try field.required("max_input_chars_per_word").count()
    var (beginning, continuing) = (ByteTrie(capacity: vocabulary.count), ByteTrie(capacity: vocabulary.count))
    for index in 0..<vocabulary.count {
      let (token, id) = (vocabulary.table.key(at: index), vocabulary.table.id(at: index))
      if !token.isEmpty { beginning.insert(token, id) }
      if token.count > prefix.count, token.starts(with: prefix) { continuing.insert(token.dropFirst(prefix.count), id) }
    }
    (self.beginning, self.continuing) = (beginning, continuing)
  }

  func encode(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    let first = out.count
    var start = 0
    if word.count(where: { $0 & 0xC0 != 0x80 }) <= maximumCharacters {
      while start < word.count {
        let (found, walked) = (start == 0 ? beginning : continuing).longest(in: word, at: start)
        try scratch.effort.spend(walk: walked, "the vocabulary")
        guard let found else { break }
        out.append(found.id)
        start = found.end
      }
      if start == word.count { return }
    }
    out.removeSubrange(first...)
    guard let id = vocabulary.id(of: unknown) else {
      throw TokenizerError(
        "\(file): model: the unk_token \"\(String(decoding: unknown, as: UTF8.self))\" is not in the vocabulary")
    }
    out.append(id)
  }
}

/// One token per word.
final class WordLevelModel: Model {
  private let vocabulary: Vocabulary
  private let unknown: [UInt8]
  private let file: String

  let takesBytes = false
  var vocabularyCount: Int { vocabulary.count }
  func id(of token: [UInt8]) -> Int? { vocabulary.id(of: token) }
  func token(of id: Int) -> [UInt8]? { vocabulary.token(of: id).map { Array($0) } }

  init(_ field: Field) throws {
    file = field.file
    vocabulary = try Vocabulary(field.required("vocab"))
    unknown = try field.required("unk_token").bytes()
  }

  func encode(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    guard let id = vocabulary.id(of: word) ?? vocabulary.id(of: unknown) else {
      throw TokenizerError(
        "\(file): model: the unk_token \"\(String(decoding: unknown, as: UTF8.self))\" is not in the vocabulary")
    }
    out.append(id)
  }
}
