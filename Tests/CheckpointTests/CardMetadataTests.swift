import Checkpoint
import Foundation
import JSON
import Testing

/// The metadata of model cards, and what a source is called.
@Suite struct CardMetadataTests {
  @Test func plainValuesAndListsAreRead() {
    let card = """
      \u{FEFF}---
      license: apache-2.0   # as the original
      license_name: 'it''s mine'
      language:
      - en
      - "no"
        # a comment
      tags: [chat, "odd tag"]
      pipeline_tag: text-generation
      thumbnail: "a \\"b\\""
      widget:
        - text: hello
      extra: |
        license: other
      empty:
      nothing: null
      ---
      license: gpl
      """
    let metadata = CardMetadata(parsing: card.replacing("\n", with: "\r\n"))
    #expect(metadata["license"] == ["apache-2.0"])
    #expect(metadata["license_name"] == ["it's mine"])
    #expect(metadata["language"] == ["en", "no"])
    #expect(metadata["tags"] == ["chat", "odd tag"])
    #expect(metadata["thumbnail"] == ["a \"b\""])
    for key in ["extra", "empty", "nothing", "widget", "text"] { #expect(metadata[key] == [], "\(key)") }
  }

  @Test(arguments: [
    "", "---", "---\n", "---\nlicense: mit", "# title\n---\nlicense: mit\n---\n", "--- \n: :\n- \n[\n]\n---\n",
    "---\nlicense: [\n---\n", "---\nlicense: \"\n---\n", "---\nlicense: '\n---\n", "---\nlicense: {a: b}\n---\n",
    "---\nlicense: *x\n---\n", "---\nlicense:\n  - {a: b}\n---", "---\n\u{0}\u{301}:\n---",
  ])
  func whatIsNoMetadataGivesNone(_ card: String) { #expect(CardMetadata(parsing: card)["license"] == []) }

  @Test func aSourceIsCalledWhatOthersCallIt() throws {
    func name(_ path: String, _ config: [(String, JSON)] = [], _ card: String = "") -> SourceName {
      SourceName(directory: path, config: JSON.Object(config), metadata: CardMetadata(parsing: card))
    }
    let cached = name("/home/me/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/abc")
    #expect(cached.name == "Qwen/Qwen3-8B" && cached.isHubID && cached.baseModel == "Qwen/Qwen3-8B")
    #expect(name("/x/models--gpt2/snapshots/abc").name == "gpt2")
    let tuned = name("/home/me/tuned/", [("_name_or_path", .text("Qwen/Qwen3-8B"))])
    #expect(tuned.name == "tuned" && !tuned.isHubID && tuned.baseModel == "Qwen/Qwen3-8B")
    #expect(name("/a/b", [("_name_or_path", .text("/home/me/secret"))]).baseModel == nil)
    #expect(name("/a/b", [("_name_or_path", .text("out/checkpoint-500"))]).baseModel == nil)
    #expect(name("/a/b", [], "---\nbase_model: org/base\n---\n").baseModel == "org/base")
    #expect(name("/a/b", [], "---\nbase_model:\n- org/one\n- org/two\n---\n").baseModel == nil)
    #expect(name("/a/b", [], "---\nbase_model: ../../etc\n---\n").baseModel == nil)
    // A link of the cache, and a link to it.
    let scratch = try Scratch()
    let real = scratch.at("models--org--m/snapshots/1")
    try FileManager.default.createDirectory(atPath: real, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: scratch.at("link"), withDestinationPath: real)
    #expect(name(scratch.at("link")).name == "org/m")
  }
}
