import Foundation
import JSON
import TestSupport
import Testing

/// The list of supported models, and its page in the documentation.
@Suite struct FamiliesCommandTests {
  private func found(_ words: String...) throws -> [String] {
    let result = try Program.run(["families", "--json"] + words)
    result.expectSuccess()
    return try (result.json?["families"]?.array ?? []).map { try #require($0["model_type"]?.string) }
  }

  @Test func modelsAreFoundByAnyOfTheirNames() throws {
    #expect(try found("Qwen3.5-9B") == ["qwen3_5", "qwen3_5_text"])
    #expect(try found("minitron") == ["nemotron"])
    #expect(try found("olmo", "num_moe_experts") == ["olmoe"])
    #expect(try found("mamba_num_heads").contains("nemotron_h"))
    try Program.run(["families", "no-such-model"]).expectFailure(saying: "\"no-such-model\"")
    #expect(try Program.run(["families", "--json", "--markdown"]).code == 64)
  }

  @Test func everyTypeHasAPublishedCheckpoint() throws {
    let entries = try Program.run(["families", "--json"]).json?["families"]?.array ?? []
    #expect(entries.count > 50)
    for entry in entries {
      #expect(entry["examples"]?.array?.isEmpty == false, "\(entry["model_type"]?.string ?? "?")")
    }
  }

  /// After a change that is meant: `COPPICE_RECORD_HELP=1 swift test … --filter FamiliesCommandTests`.
  @Test func thePageIsTheListOfThisVersion() throws {
    let page = try Program.run(["families", "--markdown"])
    page.expectSuccess()
    let file = Golden.root + "/Docs/families.md"
    if ProcessInfo.processInfo.environment["COPPICE_RECORD_HELP"] != nil {
      try Data(page.output.utf8).write(to: URL(fileURLWithPath: file))
    }
    #expect(try String(contentsOfFile: file, encoding: .utf8) == page.output)
  }
}
