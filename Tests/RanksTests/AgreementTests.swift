import Foundation
import Ranks
import Testing
import Torch

@Suite struct AgreementTests {
  @Test func likeFactsAreNoDifference() {
    let facts = [("a", "1"), ("b", "2")]
    #expect(Agreement.differences([facts, facts, facts]) == nil)
    #expect(Agreement.differences([[], []]) == nil)
  }

  @Test func whatDiffersIsSaidWithTheRanks() {
    let text = Agreement.differences([
      [("target", "6e9"), ("seed", "0")], [("target", "6e9"), ("seed", "0")], [("target", "6e9"), ("seed", "0")],
      [("target", "7e9"), ("seed", "0")],
    ])
    #expect(
      text == "the ranks differ: target is 6e9 on ranks 0-2, 7e9 on rank 3. Start all of them alike, then run again")
  }

  @Test func aFactThatOneRankLacksIsADifference() {
    #expect(Agreement.differences([[("a", "1")], []])?.contains("a is 1 on rank 0, nothing on rank 1") == true)
  }

  @Test func longValuesAreShownWhereTheyDiffer() {
    let start = String(repeating: "x", count: 1000)
    let text = Agreement.differences([[("a", start + "cat" + start)], [("a", start + "dog" + start)]]) ?? ""
    #expect(text.contains("cat") && text.contains("dog") && text.count < 600)
  }

  @Test func factsTravelWhole() throws {
    let facts = [(name: "a \"b\"", value: "c\n\u{0}d"), (name: "", value: "é")]
    let back = try #require(Agreement.decode(Agreement.encode(facts)))
    #expect(back.map(\.name) == facts.map(\.name) && back.map(\.value) == facts.map(\.value))
    for bytes in ["", "{}", "[1]", "[[\"a\"]]", "[[\"a\", 1]]", "[[\"a\",\"b\",\"c\"]]", "nonsense"] {
      #expect(Agreement.decode(Array(bytes.utf8)) == nil)
    }
  }

  @Test func ranksAsPeopleWriteThem() {
    #expect(list([0]) == "0")
    #expect(list([2, 0]) == "0 and 2")
    #expect(list([0, 1]) == "0 and 1")
    #expect(list([3, 1, 2, 0, 7]) == "0-3 and 7")
    #expect(list([Int]()) == "")
  }

  @Test func headersSayWhatFollows() throws {
    let cases: [MessageHeader] = [
      .bytes(count: 0), .bytes(count: 123), .tensor(shape: [], .float64, isDirect: false),
      .tensor(shape: [2, 0, 3], .bfloat16, isDirect: true),
      .tensor(shape: Array(repeating: 1, count: 12), .bool, isDirect: false),
    ]
    for header in cases { #expect(MessageHeader(try header.encoded().int64s()) == header) }
    #expect(throws: TorchError.self) {
      try MessageHeader.tensor(shape: Array(repeating: 1, count: 13), .bool, isDirect: true).encoded()
    }
  }

  @Test func headersThatNobodySends() throws {
    let good = try MessageHeader.tensor(shape: [2, 3], .float32, isDirect: false).encoded().int64s()
    #expect(MessageHeader([]) == nil)
    for index in 0..<6 {
      for value in [Int64.min, -1, 99, .max] where !(index >= 4 && value >= 0) {
        var words = good
        words[index] = value
        #expect(MessageHeader(words) == nil, "\(index) \(value)")
      }
    }
  }
}
