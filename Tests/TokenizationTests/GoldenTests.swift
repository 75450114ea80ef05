import JSON
import Testing
import Tokenization

/// What the `tokenizers` library makes of hostile strings, kept by `Tests/Goldens/tokenizers/make.py`.
@Suite struct GoldenTests {
  @Test func thereAreTokenizersOfEveryKind() {
    #expect(Files.names.count >= 20)
  }

  @Test(arguments: Files.names) func encodesAndDecodesAsTheLibrary(_ name: String) throws {
    let tokenizer = try Tokenizer(directory: Files.folder(name))
    let golden = try Files.json(Files.folder(name) + "/golden.json")
    let cases = try #require(golden["cases"]?.array)
    #expect(cases.count > 150)
    #expect(try tokenizer.encode("hello") == golden["hello"]?.array?.compactMap(\.int))
    for entry in cases {
      let fields = try #require(entry.array)
      let text = try #require(fields[0].text)
      let ids = try #require(fields[1].array).compactMap(\.int)
      #expect(try tokenizer.encode(utf8: text.utf8, addSpecialTokens: false) == ids, "encoding \(text)")
      #expect(Array(try tokenizer.decode(ids).utf8) == fields[2].text?.utf8, "decoding \(ids)")
      let full = try tokenizer.encode(text.description)
      #expect(
        Array(try tokenizer.decode(full, skipSpecialTokens: true).utf8) == fields[3].text?.utf8, "decoding \(full)")
    }
  }

  @Test func namesTheSpecialTokens() throws {
    let llama = try Tokenizer(directory: Files.folder("llama3"))
    #expect(llama.bosTokenID == 0)
    #expect(llama.eosTokenID == 2)
    #expect(llama.padTokenID == nil)
    let qwen = try Tokenizer(directory: Files.folder("qwen"))
    #expect(qwen.eosTokenID == qwen.id(of: "<|im_end|>"))
    #expect(qwen.padTokenID == qwen.id(of: "<|endoftext|>"))
    #expect(qwen.token(of: 2) == "<|im_end|>")
  }

  @Test func encodesAtTheSameTimeOnSeveralThreads() async throws {
    let tokenizer = try Tokenizer(directory: Files.folder("llama3"))
    let texts = (0..<200).map { "The old sailor counts \($0) letters, and doesn't know \($0 * 7)." }
    let alone = try texts.map { try tokenizer.encode($0) }
    let together = try await withThrowingTaskGroup(of: (Int, [Int]).self) { group in
      for (index, text) in texts.enumerated() { group.addTask { (index, try tokenizer.encode(text)) } }
      var all = [[Int]](repeating: [], count: texts.count)
      for try await (index, ids) in group { all[index] = ids }
      return all
    }
    #expect(alone == together)
  }

  /// Piece by piece the same text comes out, also where one character takes several tokens.
  @Test(arguments: ["llama3", "qwen", "llama2", "mistral", "gemma", "unigram_charsmap"])
  func streamsWhatDecodingGives(_ name: String) throws {
    let tokenizer = try Tokenizer(directory: Files.folder(name))
    for text in ["The old sailor", " wörld 😀👨‍👩‍👧 日本語 e\u{301}", "a\n\n  b <tool_call> c", "\u{10FFFF}\u{FFFD}."] {
      let ids = try tokenizer.encode(text)
      var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: false)
      var pieces = try ids.map { try decoder.append($0) }
      #expect(pieces.allSatisfy { $0.unicodeScalars.last != "\u{FFFD}" })
      pieces.append(try decoder.finish())
      #expect(pieces.joined() == (try tokenizer.decode(ids)))
    }
    var decoder = StreamingDecoder(tokenizer)
    #expect(throws: TokenizerError.self) { try decoder.append(-1) }
  }
}
