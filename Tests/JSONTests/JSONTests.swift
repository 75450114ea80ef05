import JSON
import Testing

@Suite struct JSONTests {
  @Test func keepsOrderAndSpelling() throws {
    let text = #"{"b": 1e-06, "a": [1, -0.0, 10000.0], "é": "\u00e9\n\ud83d\ude00"}"#
    let value = try JSON(parsing: text)
    #expect(value.serialized() == #"{"b": 1e-06, "a": [1, -0.0, 10000.0], "é": "é\n😀"}"#)
  }

  @Test func keepsCanonicallyEquivalentKeysApart() throws {
    let value = try JSON(parsing: "{\"\u{e9}\": 1, \"e\u{301}\": 2}")
    #expect(value["\u{e9}"]?.int == 1)
    #expect(value["e\u{301}"]?.int == 2)
  }

  @Test(arguments: [
    "", " ", "{", "[", "{\"a\"}", "{\"a\":1,}", "[1,]", "01", "1.", "1e", "-", "tru", "\"", "\"\\x\"", "\"\\ud800\"",
    "{\"a\":1,\"a\":2}", "[1] 2", "\"\u{1}\"", "nan", "'a'", "{a:1}", "+1", ".5", "\"\\u12\"",
    "Infinit", "-", "-I", "-Inf", "Na", "inf", "InfinityX", "\u{feff}", "\u{feff}\u{feff}1", " \u{feff}1",
  ])
  func refuses(_ text: String) {
    #expect(throws: JSONError.self) { try JSON(parsing: text) }
  }

  @Test func refusesBytesThatAreNotUTF8AndDeepNesting() {
    #expect(throws: JSONError.self) { try JSON(parsing: [0x22, 0xFF, 0x22]) }
    #expect(throws: JSONError.self) { try JSON(parsing: String(repeating: "[", count: 100_000)) }
  }

  @Test func readsWhatPythonWrites() throws {
    let text = #"{"time_step_limit": [0.0, Infinity, -Infinity, NaN]}"#
    let value = try JSON(parsing: text)
    #expect(value.serialized() == text)
    #expect(value["time_step_limit"]?.array?[1].double == .infinity)
    #expect(value["time_step_limit"]?.array?[2].double == -.infinity)
    #expect(try JSON(parsing: "\u{feff}" + text) == value)
    #expect(throws: JSONError.self) { try JSON(parsing: Array("[NaN]".utf8), dialect: .strict) }
    #expect(throws: JSONError.self) { try JSON(parsing: Array("\u{feff}[]".utf8), dialect: .strict) }
  }

  @Test func saysThatATextIsUTF16() {
    for bytes: [UInt8] in [[0xFF, 0xFE, 0x7B, 0, 0x7D, 0], [0xFE, 0xFF, 0, 0x7B, 0, 0x7D]] {
      #expect { try JSON(parsing: bytes) } throws: { "\($0)".contains("UTF-16") }
    }
  }

  @Test func indentsAsHuggingFaceDoes() throws {
    let value = try JSON(parsing: #"{"a":[1,2],"b":{},"c":[]}"#)
    #expect(value.serialized(indent: 2) == "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": {},\n  \"c\": []\n}")
  }

  @Test func whatIsNotFiniteIsNull() {
    for value in [Double.infinity, -.infinity, .nan] { #expect(JSON.double(value) == .null) }
    #expect(JSON.double(0.1).serialized() == "0.1")
  }
}
