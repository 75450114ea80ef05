import Checkpoint
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Results of checkpoints that are published with Python code of their own.
@Suite struct CompanionExportTests {
  private func edit(_ file: String, _ change: (inout JSON.Object) -> Void) throws {
    var object = try #require(try Golden.json(file).object)
    change(&object)
    try Data(JSON.object(object).serialized().utf8).write(to: URL(fileURLWithPath: file))
  }

  /// `transformers` has no class by that name.
  @Test func aKimiK2SaysThatItIsADeepSeekV3() throws {
    try withTemporaryDirectory { directory in
      let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/moe/kimi_k2")
      #expect(model.description.family == "kimi_k2" && model.description.isNative)
      try Exporter(model, selection: Selection(all: model.description))
        .write(to: directory + "/out", record: .object([]), importance: nil)
      #expect(try Golden.json(directory + "/out/config.json")["model_type"]?.string == "deepseek_v3")
      #expect(try SourceModel(directory: directory + "/out").description.family == "deepseek_v3")
    }
  }

  @Test func modelsThatComeWithTheirCodeAreTold() throws {
    for golden in Golden.all() {
      let description = try SourceModel(directory: golden.directory).description
      #expect(description.isNative == (description.family != "nemotron-nas"), "\(golden.directory)")
    }
  }

  /// `Tests/Oracle/reload.py` loads what this leaves, with and without `trust_remote_code`.
  @Test func aCheckpointWithCodeOfItsOwnGivesAResultWithout() throws {
    try withTemporaryDirectory { directory in
      let (source, output) = (directory + "/source", directory + "/out")
      try FileManager.default.copyItem(atPath: Golden.root + "/Examples/model", toPath: source)
      try edit(source + "/config.json") {
        $0["auto_map"] = .object([("AutoConfig", .text("configuration_x.C")), ("AutoModelForCausalLM", .text("m.M"))])
        $0["custom_pipelines"] = .object([("text-generation", .object([("impl", .text("p.P"))]))])
      }
      try edit(source + "/tokenizer_config.json") {
        $0["auto_map"] = .object([("AutoTokenizer", .array([.text("tokenization_x.T"), .null]))])
      }
      try Data("import x".utf8).write(to: URL(fileURLWithPath: source + "/configuration_x.py"))

      let model = try SourceModel(directory: source)
      let exporter = try Exporter(model, selection: Selection(all: model.description))
      #expect(exporter.filesNamingCode == ["config.json", "tokenizer_config.json"])
      try exporter.write(to: output, record: .object([]), importance: nil)

      let original = Golden.root + "/Examples/model"
      let names = try FileManager.default.contentsOfDirectory(atPath: original)
      #expect(
        Set(try FileManager.default.contentsOfDirectory(atPath: output)).subtracting(["coppice.json"]) == Set(names))
      for name in ["config.json", "tokenizer_config.json"] {
        #expect(try Golden.json(output + "/" + name) == Golden.json(original + "/" + name))
      }
      let written = try SourceModel(directory: output)
      let rows = [(0..<24).map { Int32($0 * 31 % 2045) }]
      try keepForReload(
        "named-code", export: output, rows: rows, logits: logits(written, rows: rows),
        vocabulary: model.description.sizes[.vocabulary])
    }
  }
}
