import Testing
import Tokenization

/// Tokenizers made to take for ever, on texts of a few kilobytes: each ends in an error, or in linear time.
@Suite struct EffortTests {
  private func split(_ pattern: String) -> String {
    small(
      #""pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\#(pattern)"}, "behavior": "Isolated"},"#)
  }

  /// Steps back within the limit of one match, at every character; steps forward alone; in lookaheads; in sets that
  /// take long to ask; in a repetition of nothing.
  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      ("(?:(?:a|a){1,22}b)?.", "a", 3_000), ("a(?=a*+c)", "a", 200_000), ("a(?=[ab]*+c)", "ab", 200_000),
      ("(?=(?:a|b)*+c)a", "ab", 100_000), ("(?>a*)c|a", "a", 200_000), ("(?<=aaaaaaaa)b|a", "a", 200_000),
      ("(?:a*+c)?.", "a", 200_000), ("(?:ba)?(?:(?:é|é){1,15}b)?.", "é", 20_000),
    ])
  func patternsEnd(_ pattern: String, _ text: String, _ count: Int) throws {
    let tokenizer = try load(split(pattern))
    let said = message { _ = try tokenizer.encode(String(repeating: text, count: count / text.utf8.count)) }
    #expect(said.isEmpty || said.contains("a pattern of the tokenizer took more than"), "\(said)")
    if !said.isEmpty { #expect(said.hasPrefix("tokenizer.json: ")) }
  }

  /// Words that another step cut out share what the text may take.
  @Test(.timeLimit(.minutes(1))) func manyWordsShareTheLimit() throws {
    let parts = ["a{1,30} ", "(?:(?:a|a){1,20}b)?."].map {
      #"{"type": "Split", "pattern": {"Regex": "\#($0)"}, "behavior": "Isolated"}"#
    }
    let tokenizer = try load(
      small(#""pre_tokenizer": {"type": "Sequence", "pretokenizers": [\#(parts.joined(separator: ","))]},"#))
    let text = String(repeating: String(repeating: "a", count: 20) + " ", count: 2_000)
    #expect(message { _ = try tokenizer.encode(text) }.contains("a pattern of the tokenizer took more than"))
  }

  /// However long a text is, what published patterns take of it is far from the limit.
  @Test func ordinaryPatternsNeverMeetTheLimit() throws {
    for name in ["gpt2", "llama3", "o200k", "deepseek", "kimi", "qwen"] {
      let tokenizer = try Tokenizer(directory: Files.folder(name))
      for piece in ["a", "A", " ", "1", "中", "é ", "\n ", "!", "aA1 "] {
        let ids = try tokenizer.encode(String(repeating: piece, count: 600_000 / piece.utf8.count))
        #expect(!ids.isEmpty)
      }
    }
  }

  private func wordPiece(_ vocabulary: String, limit: Int = 1_000_000_000) -> String {
    """
    {"model": {"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "@@",
     "max_input_chars_per_word": \(limit), "vocab": {"?": 0, \(vocabulary)}}}
    """
  }

  @Test(.timeLimit(.minutes(1))) func longWordsTakeLinearTime() throws {
    let tokenizer = try load(wordPiece(#""a": 1, "@@a": 2, "@@": 3, "@@ab": 4"#))
    #expect(try tokenizer.encode("aaab") == [1, 2, 4])
    #expect(try tokenizer.encode("aab@@a") == [0])
    #expect(try tokenizer.encode(String(repeating: "a", count: 200_000)).count == 200_000)
    #expect(try tokenizer.encode(String(repeating: "a", count: 200_000) + "c") == [0])
  }

  /// Vocabularies with a token as long as the text, which is looked for at every place.
  @Test(.timeLimit(.minutes(1))) func longTokensEnd() throws {
    let long = String(repeating: "a", count: 150_000)
    let text = String(repeating: "a", count: 149_999) + "c" + String(repeating: "a", count: 140_000)
    for json in [
      wordPiece(#""a": 1, "@@a": 2, "@@\#(long)": 3"#),
      #"{"model": {"type": "Unigram", "unk_id": 0, "vocab": [["?", 0], ["a", -1], ["\#(long)", -2]]}}"#,
      small(#""added_tokens": [{"id": 9, "content": "\#(long)"}],"#),
      small(
        #""pre_tokenizer": {"type": "Split", "pattern": {"String": "\#(long)"}, "behavior": "Isolated"},"#),
      small(#""normalizer": {"type": "Replace", "pattern": {"String": "\#(long)"}, "content": "b"},"#),
    ] {
      let tokenizer = try load(json)
      #expect(message { _ = try tokenizer.encode(text) }.contains("took more than"))
      #expect(try !tokenizer.encode("aa").isEmpty)
    }
  }

  /// Parts that make much of little, one after the other or at once.
  @Test(.timeLimit(.minutes(1))) func textThatGrowsEnds() throws {
    let long = String(repeating: "b", count: 100_000)
    let replace = #"{"type": "Replace", "pattern": {"String": "a"}, "content": "\#(long)"}"#
    let lower = Array(repeating: #"{"type": "Lowercase"}"#, count: 100_000).joined(separator: ",")
    let digits = Array(repeating: #"{"type": "Digits"}"#, count: 100_000).joined(separator: ",")
    let pieces = Array(repeating: #"{"Sequence": {"id": "A"}}"#, count: 100_000).joined(separator: ",")
    let template = #"{"type": "TemplateProcessing", "single": [\#(pieces)], "special_tokens": {}}"#
    let doubled = #"{"Sequence": {"id": "A"}}, {"Sequence": {"id": "A"}}"#
    let twice = #"{"type": "TemplateProcessing", "single": [\#(doubled)], "special_tokens": {}}"#
    let twices = Array(repeating: twice, count: 60).joined(separator: ",")
    for parts in [
      #""normalizer": \#(replace),"#, #""normalizer": {"type": "Sequence", "normalizers": [\#(lower)]},"#,
      #""normalizer": {"type": "Prepend", "prepend": "\#(long)"}, "added_tokens": [{"id": 9, "content": "c"}],"#,
      #""pre_tokenizer": {"type": "Sequence", "pretokenizers": [\#(digits)]},"#,
      #""post_processor": \#(template),"#,
      #""post_processor": {"type": "Sequence", "processors": [\#(twices)]},"#,
    ] {
      let tokenizer = try load(small(parts))
      let said = message { _ = try tokenizer.encode(String(repeating: "ac", count: 5_000)) }
      #expect(said.contains("took more than") || said.contains("it is broken"), "\(said.prefix(200))")
    }
    let decoder = try load(small(#""decoder": {"type": "Sequence", "decoders": [\#(replace), \#(replace)]},"#))
    let said = message { _ = try decoder.decode(Array(repeating: 6, count: 20_000)) }
    #expect(said.contains("took more than") || said.contains("it is broken"), "\(said.prefix(200))")
  }

  /// Patterns that would take for ever to prepare.
  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      String(repeating: "a|", count: 30_000) + "b", "(?:(?:(?:(?:){1000}){1000}){1000}){1000}",
      String(repeating: "a", count: 70_000), "[" + String(repeating: "a-b", count: 20_000) + "]",
    ])
  func largePatternsAreRefusedOrTaken(_ pattern: String) {
    do { _ = try Pattern(pattern) } catch { #expect(error is PatternFailure) }
  }

  @Test func manyAlternativesMatchInOrder() throws {
    let words = (0..<1_500).map { "w\($0);" }
    let pattern = try Pattern(words.joined(separator: "|"))
    #expect(try pattern.matches(in: "w1499;w1500;w0;") == ["w1499;", "w0;"])
  }
}
