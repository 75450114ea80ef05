import Checkpoint
import Foundation
import Testing

/// Which files of a checkpoint its pruned copy takes along, and how.
@Suite struct CompanionsTests {
  private let scratch: Scratch

  init() throws { scratch = try Scratch() }

  private func write(_ names: [String]) throws {
    for name in names {
      let directory = URL(fileURLWithPath: scratch.at(name)).deletingLastPathComponent()
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      try scratch.write(name, "contents of \(name)")
    }
  }

  @Test func whatBelongsToTheModelIsTakenAlong() throws {
    let names = [
      "tokenizer.json", "tokenizer.model", "tokenizer.model.v3", "tokenizer_config.json", "special_tokens_map.json",
      "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "spiece.model", "sentencepiece.bpe.model",
      "tekken.json", "qwen.tiktoken", "source.spm", "chat_template.json", "chat_template.jinja", "tool_use.jinja",
      "additional_chat_templates/rag.jinja", "generation_config.json", "preprocessor_config.json",
      "processor_config.json", "LICENSE", "LICENSE.txt", "Licence.md", "COPYING", "COPYING.LESSER", "NOTICE",
      "NOTICE.txt", "USE_POLICY.md", "LICENSE-2.0", "MODEL_LICENSE", "NVIDIA_OPEN_MODEL_LICENSE.pdf",
      "THIRD_PARTY_NOTICES.txt", "LICENSES/Apache-2.0.txt", "README_zh.md", "BIAS.md", "CITATION.cff",
    ]
    try write(names)
    let companions = try Companions(directory: scratch.path)
    #expect(Set(companions.files.map(\.source)) == Set(names))
    #expect(companions.files.allSatisfy { $0.name == $0.source && !$0.namesCode })
    #expect(companions.warnings.isEmpty)
  }

  /// Cards that move on still lead to the card before them.
  @Test func cardsLeadToThoseBeforeThem() throws {
    func card(_ before: String) -> String { "The original's card is in [\(before)](\(before))." }
    try scratch.write("README.md", card("README.source.md") + " README.source.md")
    try scratch.write("README.source.md", card("README.source.source.md"))
    try scratch.write("README.source.source.md", "The first, [README.md](README.md).")
    let target = try Scratch()
    try Companions(directory: scratch.path).copy(to: target.path)
    func text(_ name: String) throws -> String { String(decoding: try target.read(name), as: UTF8.self) }
    #expect(try text("README.source.md") == card("README.source.source.md") + " README.source.md")
    #expect(try text("README.source.source.md") == card("README.source.source.source.md"))
    #expect(try text("README.source.source.source.md") == "The first, [README.md](README.md).")
  }

  @Test func whatBelongsToSomethingElseStays() throws {
    try write([
      "config.json", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "consolidated.00.pth",
      "model.gguf", "onnx/model.onnx", "original/params.json", "original/tokenizer.model", "params.json",
      "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "training_args.bin",
      "trainer_state.json",
      "optimizer.pt", "scheduler.pt", "rng_state_0.pth", "all_results.json", "train_results.json", "eval_results.json",
      "quantize_config.json", "quant_config.json", "hf_quant_config.json", "recipe.yaml", "modeling_x.py",
      "tokenization_x.py", "license.py", "requirements.txt", ".gitattributes", ".tokenizer.json", "runs/README.md",
      "coppice.json", "coppice_importance.json", "report.md", "training_terms.log", "additional_chat_templates/x.py",
      "LICENSES/.hidden",
    ])
    let companions = try Companions(directory: scratch.path)
    #expect(companions.files.map(\.source) == [])
    #expect(companions.warnings.isEmpty)
  }

  @Test func copiesKeepTheirBytesAndTheReadMeMovesAside() throws {
    try write(["LICENSE", "README.source.md", "additional_chat_templates/rag.jinja"])
    let odd: [UInt8] = [0xEF, 0xBB, 0xBF, 0x7B, 0x0D, 0x0A, 0x7D, 0xFF, 0x00]
    try scratch.write("README.md", odd)
    try FileManager.default.createDirectory(atPath: scratch.at("blobs"), withIntermediateDirectories: true)
    try scratch.write("blobs/1234", Array(repeating: 0x5A, count: 600_000))
    try FileManager.default.createSymbolicLink(
      atPath: scratch.at("tokenizer.model"), withDestinationPath: "blobs/1234")
    let target = try Scratch()
    try Companions(directory: scratch.path).copy(to: target.path)
    #expect(
      try target.names()
        == ["LICENSE", "README.source.md", "README.source.source.md", "additional_chat_templates", "tokenizer.model"])
    #expect(try target.read("README.source.md") == odd)
    #expect(try target.read("README.source.source.md") == Array("contents of README.source.md".utf8))
    #expect(try target.read("tokenizer.model") == Array(repeating: 0x5A, count: 600_000))
    #expect(
      try FileManager.default.attributesOfItem(atPath: target.at("tokenizer.model"))[.type] as? FileAttributeType
        == .typeRegular)
  }

  @Test func filesThatNameCodeLoseThat() throws {
    try scratch.write(
      "tokenizer_config.json",
      #"{"auto_map": {"AutoTokenizer": ["t.T", null]}, "model_max_length": 1e30, "chat_template": "auto_map"}"#)
    try scratch.write(
      "processor_config.json", #"{"image_processor": {"auto_map": {"AutoImageProcessor": "i.I"}, "size": 2}}"#)
    // A vocabulary may hold the word.
    try scratch.write("vocab.json", #"{"auto_map": 7}"#)
    let untouched = #"{ "temperature":0.60 ,"note": "auto_map"}"#
    try scratch.write("generation_config.json", untouched)
    let companions = try Companions(directory: scratch.path)
    #expect(companions.files.filter(\.namesCode).map(\.name) == ["processor_config.json", "tokenizer_config.json"])
    let target = try Scratch()
    try companions.copy(to: target.path)
    func text(_ name: String) throws -> String { String(decoding: try target.read(name), as: UTF8.self) }
    #expect(
      try text("tokenizer_config.json").split(whereSeparator: \.isWhitespace).joined(separator: " ")
        == #"{ "model_max_length": 1e30, "chat_template": "auto_map" }"#)
    #expect(
      try text("processor_config.json").split(whereSeparator: \.isWhitespace).joined()
        == #"{"image_processor":{"size":2}}"#)
    #expect(try text("vocab.json") == #"{"auto_map": 7}"#)
    #expect(try text("generation_config.json") == untouched)
  }

  @Test func whatIsNoFileIsPassedOverWithAWarning() throws {
    try FileManager.default.createDirectory(atPath: scratch.at("tokenizer.model"), withIntermediateDirectories: true)
    #expect(mkfifo(scratch.at("LICENSE"), 0o644) == 0)
    try FileManager.default.createSymbolicLink(atPath: scratch.at("README.md"), withDestinationPath: "/dev/null")
    try FileManager.default.createSymbolicLink(atPath: scratch.at("NOTICE"), withDestinationPath: "gone")
    try FileManager.default.createSymbolicLink(atPath: scratch.at("COPYING"), withDestinationPath: "COPYING")
    try scratch.write("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 1\n")
    let companions = try Companions(directory: scratch.path)
    #expect(companions.files.isEmpty)
    #expect(companions.warnings.count == 6)
    for name in ["tokenizer.model", "LICENSE", "README.md", "NOTICE", "COPYING", "tokenizer.json"] {
      #expect(companions.warnings.contains { $0.hasPrefix(scratch.at(name) + " is passed over") })
    }
  }

  @Test func whatCannotBeReadIsSaidBeforeAnythingIsCopied() throws {
    try write(["LICENSE"])
    chmod(scratch.at("LICENSE"), 0)
    defer { chmod(scratch.at("LICENSE"), 0o644) }
    if getuid() != 0 {
      let said = message { _ = try Companions(directory: scratch.path) }
      #expect(said.contains("LICENSE") && said.contains("permissions"))
    }
    try scratch.write("tokenizer_config.json", #"{"auto_map": "#)
    chmod(scratch.at("LICENSE"), 0o644)
    #expect(message { _ = try Companions(directory: scratch.path) }.contains("tokenizer_config.json is"))
  }
}
