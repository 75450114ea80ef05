import JSON
import Testing
import Tokenization

@Suite struct LoadingTests {
  @Test func loadsTheSmallestTokenizer() throws {
    let tokenizer = try load(
      small(
        #""added_tokens": [{"id": 9, "content": "<s>", "special": true, "normalized": false}],"#
          + #""pre_tokenizer": {"type": "WhitespaceSplit"},"#))
    #expect(try tokenizer.encode("hi he<s>x") == [3, 1, 4, 9, 0])
    #expect(tokenizer.vocabularySize == 10)
    #expect(tokenizer.id(of: "<s>") == 9)
    #expect(tokenizer.token(of: 3) == "hi")
    #expect(tokenizer.token(of: 10) == nil)
    #expect(tokenizer.token(of: -1) == nil)
  }

  /// Every error says the file, and the place or name of what is wrong.
  @Test(arguments: [
    ("", "not valid JSON"),
    ("[]", "expected an object, found a list"),
    ("{}", "\"model\" is missing"),
    (#"{"version": "2.0", "model": {}}"#, "version \"2.0\""),
    (#"{"model": 7}"#, "model: expected an object, found a number"),
    (#"{"model": {"type": "RNN"}}"#, "model: unknown model \"RNN\"; supported: BPE"),
    (#"{"model": {"type": "BPE"}}"#, "model: \"vocab\" is missing"),
    (#"{"model": {"type": "BPE", "vocab": []}}"#, "model.vocab: expected an object"),
    (#"{"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}"#, "token \"a\": expected an id"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 99999999999}, "merges": []}}"#, "found 99999999999"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 1.5}, "merges": []}}"#, "found 1.5"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#, "merge 0: \"b\" is not in the vocabulary"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a a"]}}"#, "merge 0: \"aa\" is not in the vocabulary"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}"#, "merge 0: expected two tokens"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a"]]}}"#, "merge 0: expected two tokens"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [1]}}"#, "merge 0: expected a string"),
    (#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.1}}"#, "dropout"),
    (#"{"model": {"type": "Unigram", "vocab": {}}}"#, "model.vocab: expected a list"),
    (#"{"model": {"type": "Unigram", "vocab": [["a"]]}}"#, "model.vocab[0]: expected a token and its score"),
    (#"{"model": {"type": "Unigram", "vocab": [["a", 1e999]]}}"#, "model.vocab[0]: expected a token and its score"),
    (#"{"model": {"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1}}"#, "unk_id 1 is outside"),
  ])
  func refusesModels(_ json: String, _ expected: String) {
    let message = message { _ = try load(json) }
    #expect(message.hasPrefix("tokenizer.json: "))
    #expect(message.contains(expected), "\(message)")
  }

  @Test(arguments: [
    (#""normalizer": {"type": "Foo"},"#, "normalizer: unknown normalizer \"Foo\""),
    (
      #""normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {}]},"#,
      "normalizer.normalizers[1]: \"type\""
    ),
    (#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"},"#, "precompiled_charsmap: not valid base64"),
    (#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "/////w=="},"#, "a trie of 4294967295 bytes"),
    (#""normalizer": {"type": "Replace", "pattern": 1, "content": ""},"#, "normalizer.pattern: expected an object"),
    (#""normalizer": {"type": "Replace", "pattern": {"Regex": "("}, "content": ""},"#, "a '(' without its ')'"),
    (#""pre_tokenizer": {"type": "UnicodeScripts"},"#, "pre_tokenizer: unknown pre-tokenizer \"UnicodeScripts\""),
    (#""pre_tokenizer": {"type": "FixedLength", "length": 0},"#, "a length of 0"),
    (
      #""pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "Odd"},"#, "unknown behavior \"Odd\""
    ),
    (#""pre_tokenizer": {"type": "Metaspace", "replacement": "ab"},"#, "replacement: expected one character, found 2"),
    (#""pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": "x"},"#, "unknown prepend scheme"),
    (#""post_processor": {"type": "Pair"},"#, "post_processor: unknown post-processor \"Pair\""),
    (
      #""post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}], "special_tokens": {}},"#,
      "post_processor.single[0].SpecialToken.id: \"x\" is not among"
    ),
    (
      #""post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B"}}], "special_tokens": {}},"#,
      "asks for the text \"B\""
    ),
    (#""decoder": {"type": "CTC"},"#, "decoder: unknown decoder \"CTC\""),
    (
      #""decoder": {"type": "Strip", "content": "", "start": 0, "stop": 0},"#, "decoder.content: expected one character"
    ),
    (
      #""decoder": {"type": "Strip", "content": "a", "start": -1, "stop": 0},"#,
      "decoder.start: expected a whole number"
    ),
    (#""added_tokens": {},"#, "added_tokens: expected a list"),
    (#""added_tokens": [{"content": "a"}],"#, "added_tokens[0]: \"id\" is missing"),
    (#""added_tokens": [{"id": -4, "content": "a"}],"#, "added_tokens[0].id: expected a token id"),
  ])
  func refusesParts(_ parts: String, _ expected: String) {
    let message = message { _ = try load(small(parts)) }
    #expect(message.contains(expected), "\(message)")
  }

  @Test func refusesDeepNesting() {
    var part = #"{"type": "NFC"}"#
    for _ in 0..<300 { part = #"{"type": "Sequence", "normalizers": ["# + part + "]}" }
    #expect(message { _ = try load(small(#""normalizer": "# + part + ",")) }.contains("nested deeper"))
  }

  @Test func saysThatTheDirectoryHasNoTokenizer() {
    let message = message { _ = try Tokenizer(directory: "/nonexistent") }
    #expect(message.contains("/nonexistent/tokenizer.json: cannot be read"))
  }

  @Test func numbersSpecialTokensByNameThenByNumber() throws {
    let config = JSON.object([
      ("eos_token", .object([("content", .text("hi"))])), ("bos_token", .text("nowhere")), ("bos_token_id", .int(4)),
      ("pad_token_id", .array([.int(7), .int(8)])),
    ])
    let tokenizer = try load(small(), config: config)
    #expect(tokenizer.eosTokenID == 3)
    #expect(tokenizer.bosTokenID == 4)
    #expect(tokenizer.padTokenID == 7)
  }

  /// Null and negative numbers have meant "none" since the first Llama.
  @Test func takesNegativeIDsForNone() throws {
    let none: [JSON] = [.int(-1), .null, .object([]), .array([]), .array([.int(-1)]), .double(-1.0)]
    for value in none { #expect(try load(small(), config: .object([("pad_token_id", value)])).padTokenID == nil) }
    #expect(try load(small(), config: .object([("eos_token_id", .array([.int(-1), .int(4)]))])).eosTokenID == 4)
    #expect(try TokenIDs(.array([.int(2), .int(-1), .int(0)])).ids == [2, 0])
    #expect(try TokenIDs(nil).ids == [])
    #expect(throws: TokenizerError.self) { try TokenIDs(.text("2")) }
    #expect(throws: TokenizerError.self) { try load(small(), config: .object([("eos_token_id", .int(1 << 40))])) }
  }

  /// As an empty vocabulary has nothing to say, every text comes to nothing.
  @Test func anEmptyVocabularyEncodesNothing() throws {
    let tokenizer = try load(#"{"model": {"type": "BPE", "vocab": {}, "merges": []}}"#)
    #expect(try tokenizer.encode("some text") == [])
    #expect(tokenizer.vocabularySize == 0)
  }

  /// The library numbers added tokens itself: after the vocabulary, whatever the file says.
  @Test func addedTokensFollowTheVocabulary() throws {
    let tokenizer = try load(small(#""added_tokens": [{"id": 2000000000, "content": "<s>"}],"#))
    #expect(tokenizer.id(of: "<s>") == 9)
  }

  @Test func stopsTokenizersThatBlowTextUp() throws {
    let double = #"{"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaaaaaaaa"}"#
    let parts = Array(repeating: double, count: 40).joined(separator: ",")
    let tokenizer = try load(small(#""normalizer": {"type": "Sequence", "normalizers": ["# + parts + "]},"))
    #expect(message { _ = try tokenizer.encode("a") }.contains("is broken"))
  }
}
