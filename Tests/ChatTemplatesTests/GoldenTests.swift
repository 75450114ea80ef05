import ChatTemplates
import Foundation
import JSON
import Testing

/// What transformers renders, kept by `Tests/Goldens/make_chat_templates.py`.
struct ChatGoldens {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Goldens/chat").path

  static func json(_ name: String) throws -> JSON {
    try JSON(parsing: Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)")))
  }

  static func source(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: "\(folder)/templates/\(name).jinja")), as: UTF8.self)
  }

  static let names: [String] =
    (try? FileManager.default.contentsOfDirectory(atPath: folder + "/templates"))?
    .filter { $0.hasSuffix(".jinja") }.map { String($0.dropLast(6)) }.sorted() ?? []

  let special: [String: String]
  let cases: [JSON.Object]
  let clock: Clock

  init() throws {
    let file = try Self.json("conversations.json")
    special = Dictionary(
      uniqueKeysWithValues: (file["special"]?.object ?? JSON.Object()).map { ($0.description, $1.string ?? "") })
    cases = file["cases"]?.array?.compactMap(\.object) ?? []
    clock = Clock.at(file["clock"]?.int ?? 0)
  }

  static func render(_ template: ChatTemplate, _ entry: JSON.Object, _ clock: Clock) throws -> String {
    var variables = entry
    let (messages, tools) = (entry["messages"] ?? .null, entry["tools"])
    (variables["messages"], variables["tools"]) = (nil, nil)
    return try template.rendered(messages: messages, tools: tools, variables: variables, clock: clock)
  }
}

@Suite struct ChatTemplateGoldenTests {
  @Test func thereAreTemplatesOfManyFamilies() throws {
    #expect(ChatGoldens.names.count >= 60)
    #expect(try ChatGoldens().cases.count >= 20)
  }

  @Test func everyTemplateRendersAsInTransformers() throws {
    let goldens = try ChatGoldens()
    let expected = try ChatGoldens.json("expected.json")
    var (texts, errors) = (0, 0)
    for name in ChatGoldens.names {
      let answers = try #require(expected[name]?.array, "\(name): make the goldens anew")
      #expect(answers.count == goldens.cases.count)
      let template = try? ChatTemplate(source: ChatGoldens.source(name), specialTokens: goldens.special)
      for (index, (entry, answer)) in zip(goldens.cases, answers).enumerated() {
        let text = try? ChatGoldens.render(try #require(template), entry, goldens.clock)
        // Bytes, not characters: what is canonically equal is not the same text.
        #expect(text.map { Array($0.utf8) } == answer.text?.utf8, "\(name), conversation \(index)")
        if text == nil { errors += 1 } else { texts += 1 }
      }
    }
    #expect(texts > 1000)
    #expect(errors > 100)
  }
}
