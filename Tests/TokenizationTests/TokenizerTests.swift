import JSON
import Testing
import Tokenization

@Suite struct TokenizerTests {
  /// A byte-level tokenizer without merges but one: "h" + "i".
  static let tiny = """
    {"version": "1.0", "added_tokens": [{"id": 5, "content": "<s>", "special": true, "normalized": false}],
     "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\\\s+"}, "behavior": "Removed", "invert": false},
     "model": {"type": "BPE", "vocab": {"h": 0, "i": 1, "hi": 2, "?": 3, "e": 4}, "merges": ["h i"], "unk_token": "?"}}
    """

  static func load(_ json: String, config: JSON? = nil) throws -> Tokenizer {
    try Tokenizer(tokenizerJSON: Array(json.utf8), file: "tokenizer.json", config: config)
  }

  @Test func mergesAndKnowsAddedTokens() throws {
    let tokenizer = try Self.load(Self.tiny)
    #expect(try tokenizer.encode("hi he<s>x") == [2, 0, 4, 5, 3])
    #expect(tokenizer.vocabularySize == 6)
    #expect(tokenizer.id(of: "<s>") == 5)
    #expect(tokenizer.token(of: 2) == "hi")
    #expect(tokenizer.token(of: 6) == nil)
  }
}
