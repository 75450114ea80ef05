import CoppiceCommands
import Foundation
import TestSupport
import Testing
import Tokenization

/// Text that appears token by token is the text of all tokens, in whole characters.
@Suite struct TextStreamTests {
  /// The bundled tokenizer, and one of every kind there are goldens of.
  private static func tokenizers() -> [String] {
    let root = Golden.root + "/Tests/Goldens/tokenizers"
    let names = (try? FileManager.default.contentsOfDirectory(atPath: root).sorted()) ?? []
    return [Program.model]
      + names.map { root + "/" + $0 }.filter { FileManager.default.fileExists(atPath: $0 + "/tokenizer.json") }
  }

  @Test(
    arguments: tokenizers(),
    [
      "The capital city of Deaxland.", " leading, trailing ", "naïve café: 日本語 and 😀👩‍👩‍👧‍👦!", "a\n\n\tb", "ក្រុម — “quotes”",
      "\u{301}x",
    ])
  func piecesJoinToTheWhole(_ directory: String, _ text: String) throws {
    let tokenizer = try Tokenizer(directory: directory)
    let prompt = try tokenizer.encode("Once upon a time", addSpecialTokens: true)
    let new = try tokenizer.encode(text, addSpecialTokens: false)
    for context in [prompt, []] {
      let before = try tokenizer.decode(context, skipSpecialTokens: true)
      let whole = try tokenizer.decode(context + new, skipSpecialTokens: true)
      var stream = TextStream(tokenizer, after: context)
      var pieces = try new.map { try stream.append($0) }
      pieces.append(try stream.finish())
      #expect(Array((before + pieces.joined()).utf8) == Array(whole.utf8))
      if !whole.contains("\u{FFFD}") { #expect(!pieces.contains { $0.contains("\u{FFFD}") }) }
    }
  }

  @Test func partsOfACharacterWaitForTheRest() throws {
    let tokenizer = try Tokenizer(directory: Program.model)
    let ids = try tokenizer.encode("😀", addSpecialTokens: false)
    try #require(ids.count > 1)
    var stream = TextStream(tokenizer)
    for id in ids.dropLast() { #expect(try stream.append(id).isEmpty) }
    #expect(try stream.append(ids[ids.count - 1]) == "😀")
    // What never becomes whole comes at the end, as decoding has it.
    #expect(try stream.append(ids[0]).isEmpty)
    #expect(try stream.finish().contains("\u{FFFD}"))
    // A row of the vocabulary that no token has.
    #expect(try stream.append(1 << 20).isEmpty)
  }
}
