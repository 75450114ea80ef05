import JSON
import Testing

@Suite struct MembersTests {
  private func text(_ line: String, _ name: JSON.Text = "text") throws -> JSON? {
    try JSON.Members(parsing: Array(line.utf8), wanted: ["text", "other"]).value(name)
  }

  /// Members that nobody asked for may hold anything that ends.
  @Test(arguments: [
    "1", "NaN", "-Infinity", "1e999999", String(repeating: "9", count: 100_000), "null", #""\ud800""#, "\"\u{1}\"",
    #""\"}, \"text\": 1""#, #"{"text": 2, "text": 3}"#, "[1, [], {}, [{}], {\"a\": [1]}, \"]\"]", "[ ]", "{ }", "yes",
    String(repeating: "[", count: 100_000) + String(repeating: "]", count: 100_000),
    String(repeating: "{\"a\":", count: 100_000) + "1" + String(repeating: "}", count: 100_000),
  ])
  func passesOverWhatIsNotWanted(_ value: String) throws {
    for line in [#"{"x": \#(value), "text": "t"}"#, #"{"text":"t","x":\#(value) , "x": 1}"#] {
      #expect(try text(line)?.string == "t")
    }
    #expect(try JSON.Members(parsing: Array("{\"x\":\(value),\"a\":1}".utf8), wanted: []).names == ["x", "a"])
  }

  @Test(arguments: [
    "", "[]", "1", "{", #"{"text": "t""#, #"{"text": "t",}"#, #"{"text" "t"}"#, #"{"x": [1}, "text": "t"}"#,
    #"{"x": [1, "text": "t"}"#, #"{"x": {"a"}, "text": "t"}"#, #"{"x": "a, "text": "t"}"#, #"{"x": , "text": "t"}"#,
    #"{"text": "t"} 1"#, #"{"x": "\"#, #"{"x": *}"#, #"{x: 1}"#,
  ])
  func refusesWhatHasNoEnd(_ line: String) {
    #expect(throws: JSONError.self) { try text(line) }
  }

  /// A wanted member that is wrong is so when it is asked for; another one is not.
  @Test(arguments: [
    "\"\\ud800\"", "yes", "01", "\"a\", \"other\": \"b\"",
    String(repeating: "[", count: 300) + String(repeating: "]", count: 300),
  ])
  func aWantedMemberIsWrongWhereItIsUsed(_ value: String) throws {
    let line = #"{"other": \#(value), "text": "t"}"#
    #expect(try text(line)?.string == "t")
    #expect(throws: JSONError.self) { try text(line, "other") }
  }

  @Test func passesOverAByteOrderMark() throws {
    #expect(try text("\u{feff}{\"text\": null}") == .null)
    #expect(try text("{}") == nil)
  }
}
