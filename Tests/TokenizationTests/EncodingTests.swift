import Foundation
import JSON
import Testing
import Tokenization

@Suite struct EncodingTests {
  @Test func refusesTextThatIsNotUTF8() throws {
    let tokenizer = try load(small())
    for (bytes, at) in [([0x68, 0xFF], 1), ([0xC3], 0), ([0x68, 0xED, 0xA0, 0x80], 1), ([0xF5, 0x80], 0)]
      as [([UInt8], Int)]
    {
      #expect(message { _ = try tokenizer.encode(utf8: bytes) }.contains("not UTF-8 at byte \(at)"))
    }
  }

  @Test func refusesIDsThatAreNone() throws {
    let tokenizer = try load(small())
    for id in [-1, 9, Int.max, Int.min] {
      #expect(message { _ = try tokenizer.decode([3, id]) }.contains("no token with the id \(id)"))
    }
    #expect(try tokenizer.decode([]) == "")
    #expect(try tokenizer.decode([3, 4]) == "hi e")
  }

  @Test func saysWhenTheUnknownTokenIsUnknown() throws {
    let tokenizer = try load(
      #"{"model": {"type": "BPE", "unk_token": "<unk>", "vocab": {"a": 0}, "merges": []}}"#)
    #expect(try tokenizer.encode("aa") == [0, 0])
    #expect(message { _ = try tokenizer.encode("ab") }.contains("unk_token \"<unk>\""))
  }

  @Test func keepsCanonicallyEquivalentTokensApart() throws {
    let tokenizer = try load(small(vocabulary: ", \"\u{e9}\": 9, \"\u{301}\": 10"))
    #expect(try tokenizer.encode("\u{e9}") == [9])
    #expect(try tokenizer.encode("e\u{301}") == [4, 10])
    #expect(tokenizer.id(of: "\u{e9}") == 9)
    #expect(tokenizer.id(of: "e\u{301}") == nil)
  }

  @Test func takesTheLongestAddedToken() throws {
    let tokenizer = try load(
      small(
        """
        "added_tokens": [{"id": 9, "content": "<a>"}, {"id": 10, "content": "<a>b"}, {"id": 11, "content": "hic", "single_word": true}],
        """))
    #expect(try tokenizer.encode("<a>c<a>b<a") == [9, 8, 10, 0, 6])
    #expect(try tokenizer.encode("hic ahic hic") == [11, 5, 6, 3, 8, 5, 11])
  }

  /// Text made to look like the start of tokens again and again, and words without an end, take time in proportion.
  @Test(.timeLimit(.minutes(1))) func longTextsTakeLinearTime() throws {
    let count = 1_000_000
    for name in ["llama3", "llama2", "unigram_bytes", "bert"] {
      let tokenizer = try Tokenizer(directory: Files.folder(name))
      for piece in ["<", "a", "<tool_call", " ", "=", "\u{301}\u{323}"] {
        let text = String(repeating: piece, count: count / piece.utf8.count)
        let ids = try tokenizer.encode(text)
        #expect(ids.count > 0)
        if name == "llama3" { #expect(try tokenizer.decode(Array(ids.dropFirst())) == text) }
      }
    }
  }

  @Test func answersLineByLine() throws {
    let tokenizer = try load(small())
    func run(_ input: String, _ body: (FileHandle, FileHandle) throws -> Void) throws -> (String, String) {
      let (into, out) = (Pipe(), Pipe())
      try into.fileHandleForWriting.write(contentsOf: Data(input.utf8))
      try into.fileHandleForWriting.close()
      let message = message { try body(into.fileHandleForReading, out.fileHandleForWriting) }
      try out.fileHandleForWriting.close()
      return (String(decoding: out.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self), message)
    }
    let encoded = try run("\"hi\"\n\"\"\n\"e h\"") { try TokenizerLines.encode(tokenizer, from: $0, to: $1) }
    #expect(encoded == ("[3]\n[]\n[4, 5, 1]\n", ""))
    let decoded = try run("[3]\n[]\n") { try TokenizerLines.decode(tokenizer, from: $0, to: $1) }
    #expect(decoded == ("\"hi\"\n\"\"\n", ""))
    let wrong = try run("\"hi\"\n7\n\"hi\"\n") { try TokenizerLines.encode(tokenizer, from: $0, to: $1) }
    #expect(wrong.0 == "[3]\n")
    #expect(wrong.1.contains("line 2 of the input: expected a JSON string, found a number"))
    let unknown = try run("[99]\n") { try TokenizerLines.decode(tokenizer, from: $0, to: $1) }
    #expect(unknown.1.contains("line 1 of the input") && unknown.1.contains("no token with the id 99"))
  }

  /// The library's `serde_json` does not round scores to the nearest double, which decides between cuts that score alike.
  @Test func scoresAreReadAsTheLibraryReadsThem() throws {
    let tokenizer = try load(
      #"""
      {"version": "1.0", "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], [" ", -1.8121066703336526],
       ["    ", -4.378355390897596], ["a", -9.0], [":", -5.209293342603211], [">", -8.31220402086656]]}}
      """#)
    #expect(try tokenizer.encode(":>         ") == [4, 5, 2, 1, 2])
  }

  @Test(arguments: [
    ("1e400", false), ("1e99999999999999999999", false), ("1e-99999999999999999999", true), ("-0", true), ("0e5", true),
    ("123456789012345678901234567890e-25", true), ("-1.5E+1", true), ("18446744073709551616", true), ("1e-320", true),
  ])
  func scoresOfAnySpellingAreReadOrRefused(_ score: String, _ isRead: Bool) {
    let said = message {
      let tokenizer = try load(
        #"{"version": "1.0", "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a", \#(score)]]}}"#)
      #expect(try tokenizer.encode("a") == [1])
    }
    #expect(said.isEmpty == isRead, "\(said)")
  }
}
