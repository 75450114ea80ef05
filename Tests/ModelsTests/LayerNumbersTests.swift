import Models
import Testing

/// Layers as people name them.
@Suite struct LayerNumbersTests {
  @Test(arguments: [
    ("3,5,27-34", "3,5,27-34"), ("1", "1"), (" 2 , 4 - 6 ", "2,4-6"), ("7,3,8", "3,7-8"), ("1-3,2-5,9,9", "1-5,9"),
    ("1-9223372036854775807", "1-9223372036854775807"), ("4-4", "4"), ("007", "7"), ("1,2,3", "1-3"),
    ("9223372036854775807,1", "1,9223372036854775807"),
  ])
  func numbersAndRangesAreRead(_ text: String, _ canonical: String) throws {
    let numbers = try LayerNumbers(parsing: text)
    #expect(numbers.description == canonical)
    #expect(try LayerNumbers(parsing: canonical) == numbers)
  }

  @Test(arguments: [
    "", " ", ",", "1,", ",1", "1,,2", "0", "0-3", "-1", "1-", "-", "1-2-3", "5-3", "a", "1.5", "1e3", "+1", "0x1", "٣",
    "１",
    "1;2", "[1, 2]", "all", "1–3", "9223372036854775808", "1-99999999999999999999", "1\u{0}2", "--3",
    String(repeating: "1-", count: 10_000),
  ])
  func anythingElseIsAnError(_ text: String) {
    let error = #expect(throws: ModelError.self) { try LayerNumbers(parsing: text) }
    // However long the text.
    #expect((error?.description.count ?? .max) < 250)
  }

  @Test func layersOfAModelCountFromZero() throws {
    let numbers = try LayerNumbers(parsing: "2,4-9223372036854775807")
    #expect(numbers.layers(of: 6) == [1, 3, 4, 5])
    #expect(numbers.last == .max && !numbers.contains(0) && numbers.contains(1))
    #expect(LayerNumbers().isEmpty && LayerNumbers().last == nil && LayerNumbers().layers(of: 3).isEmpty)
  }

  @Test func whatTwoShareIsFound() throws {
    func shared(_ one: String, _ other: String) throws -> Int? {
      let (one, other) = (try LayerNumbers(parsing: one), try LayerNumbers(parsing: other))
      #expect(one.firstShared(with: other) == other.firstShared(with: one))
      return one.firstShared(with: other)
    }
    #expect(try shared("1-4,9", "5-8,10") == nil)
    #expect(try shared("1-4,9-12", "5-8,11") == 11)
    #expect(try shared("1-9223372036854775807", "36") == 36)
    #expect(try LayerNumbers(parsing: "1").firstShared(with: LayerNumbers()) == nil)
  }
}
