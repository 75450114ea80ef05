internal import JSON

/// WordPiece, as BERT has it: the longest token first, from left to right.
final class WordPieceModel: Model {
  private let vocabulary: Vocabulary
  private let unknown: [UInt8]
  private let prefix: [UInt8]
  private let maximumCharacters: Int
  private let file: String

  let takesBytes = false
  var vocabularyCount: Int { vocabulary.count }
  func id(of token: [UInt8]) -> Int? { vocabulary.id(of: token) }
  func token(of id: Int) -> [UInt8]? { vocabulary.token(of: id).map { Array($0) } }

  init(_ field: Field) throws {
    file = field.file
    vocabulary = try Vocabulary(field.required("vocab"))
    unknown = try field.required("unk_token").bytes()
    prefix = try field.required("continuing_subword_prefix").bytes()
    maximumCharacters = try field.required("max_input_chars_per_word").count()
  }

  func encode(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    let first = out.count
    var start = 0
    if word.count(where: { $0 & 0xC0 != 0x80 }) <= maximumCharacters {
      while start < word.count {
        var end = word.count
        var found: Int?
        while end > start {
          let piece = start == 0 ? Array(word[..<end]) : prefix + word[start..<end]
          found = vocabulary.id(of: piece)
          if found != nil { break }
          end = scalarStart(in: word, before: end)
        }
        guard let found else { break }
        out.append(found)
        start = end
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
