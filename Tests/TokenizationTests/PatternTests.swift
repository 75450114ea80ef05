import Testing
import Tokenization

@Suite struct PatternTests {
  /// Answers of Oniguruma, as the library's `Split` gives them.
  @Test(arguments: [
    (#"(?i:'s|'re|'ll)"#, "a'ſb'S'Ll", ["'ſ", "'S", "'Ll"]),
    (#"\p{N}{1,3}+"#, "1234567", ["1234567"]),
    (#"\w+"#, "ab²c", ["ab²c"]),
    (#"[\w]+"#, "ab²c", ["ab", "c"]),
    (#"[[:word:]]+"#, "a½b", ["a", "b"]),
    (#"[^\w&&\S]+"#, "a²!", ["²!"]),
    (#"\012"#, "a\nb", ["\n"]),
    (#"[\060]"#, "a0", ["0"]),
    (#"\p{N}{1,3}?"#, "123", ["1", "2", "3"]),
    (#"\p{N}{2}?"#, "1234567", ["12", "34", "56"]),
    (#"\p{N}++7"#, "1234567", []),
    (#"a{,2}"#, "aaaaa", ["aa", "aa", "a"]),
    (#"a{x}"#, "a{x}", ["a{x}"]),
    (#"(?i:[st])"#, "STſK", ["S", "T", "ſ"]),
    (#"(?m:.)+"#, "a\nb", ["a\nb"]),
    (#".+"#, "a\nb", ["a", "b"]),
    (#"^a"#, "a\na\r\na", ["a", "a", "a"]),
    (#"a$"#, "a\na\r\na", ["a", "a"]),
    (#"\Aa"#, "a\na", ["a"]),
    (#"[a-c&&[^b]]"#, "abc", ["a", "c"]),
    (#"[^(\s|[.,!?])]+"#, "Hi (world), a|b.", ["Hi", "world", "a", "b"]),
    (#"[]a]"#, "a]", ["a", "]"]),
    (#"[-a]+"#, "a-1", ["a-"]),
    (#"\u0061\x{62}\x63"#, "abc", ["abc"]),
    (#"(?<=a)b"#, "abbab", ["b", "b"]),
    (#"(?<!a)b"#, "abbab", ["b"]),
    (#"(?>a+)b"#, "aab", ["aab"]),
    (#"\R"#, "a\r\nb\n", ["\r\n", "\n"]),
    (#"\h+"#, "abfxyz", ["abf"]),
    (#"x*"#, "ab", ["", "", ""]),
    (#"a*"#, "aab", ["aa", ""]),
    (#"\Ga"#, "aab", ["a", "a"]),
    (#"[[:alpha:]]+"#, "ab1", ["ab"]),
    (#"\p{^L}|\P{Lu}"#, "A1b", ["1", "b"]),
    (#"\bc"#, "cc c", ["c", "c"]),
    (#"(?x: a b )"#, "ab", ["ab"]),
    (#"(?i)a(?-i)b"#, "AbAB", ["Ab"]),
    (#"(?i:é)"#, "éÉ", ["é", "É"]),
    (#"\s+(?!\S)|\s+"#, "a   b ", ["  ", " ", " "]),
    (#"(?:ab|a)(?:bc)?"#, "abc", ["ab"]),
    (#"\p{Han}+"#, "a中文b", ["中文"]),
  ])
  func matchesAsOniguruma(_ pattern: String, _ text: String, _ expected: [String]) throws {
    let found = try Pattern(pattern).matches(in: text)
    #expect(found.filter { !$0.isEmpty } == expected.filter { !$0.isEmpty })
  }

  @Test(arguments: [
    "(", ")", "[", "a)", "*", "+a", "(?<a", #"\"#, #"\p{Klingon}"#, #"\p{L"#, "[b-a]", #"[a-\d]"#, "(?s:.)", #"(a)\1"#,
    "(a*)*",
    "a{9999}", "(?<=a+)b", "(?i:ss)", #"(?i:\p{Lu})"#, "[[:foo:]]", #"\X"#, #"\y"#, #"\x{110000}"#,
    "((((a{1000}){1000}){1000}){1000})",
    String(repeating: "(", count: 5000), String(repeating: "[", count: 5000),
  ])
  func refuses(_ pattern: String) {
    #expect(throws: PatternFailure.self) { try Pattern(pattern) }
  }

  @Test(.timeLimit(.minutes(1))) func givesUpOnRunawayPatterns() throws {
    let pattern = try Pattern("(?:a|aa)+$b")
    #expect(throws: TokenizerError.self) { try pattern.matches(in: String(repeating: "a", count: 5000)) }
  }
}
