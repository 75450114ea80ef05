import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// A language model inside a larger checkpoint: the same family file describes it, by a section of the config and another
/// prefix of names; what stands beside it is carried along, and what ends in its hidden size is cut along.
@Suite struct TowerTests {
  private static let prefix = "model.language_model."
  private static let merger = Weight(
    "model.visual.merger.weight", [.hidden, Axis(Dimension(fixed: "vision_width"))], writes: 0)

  /// The golden's checkpoint with a vision tower of two tensors beside it.
  private func larger(_ golden: Golden, at directory: String) throws {
    var edited = try EditedCheckpoint(golden.directory)
    for index in edited.tensors.indices where edited.tensors[index].name.hasPrefix("model.") {
      edited.tensors[index].name = Self.prefix + edited.tensors[index].name.dropFirst("model.".count)
    }
    let hidden = try #require(edited.config["hidden_size"]?.int)
    func tensor(_ name: String, _ shape: [Int]) -> EditedCheckpoint.Entry {
      let count = shape.reduce(1, *)
      // Numbers between 2⁻⁷ and 2.
      var bytes: [UInt8] = []
      for number in 0..<count {
        bytes.append(UInt8(truncatingIfNeeded: number * 74))
        bytes.append(UInt8(0x3C + number % 4))
      }
      return EditedCheckpoint.Entry(name: name, type: .bfloat16, shape: shape, bytes: bytes)
    }
    edited.tensors.insert(tensor("model.visual.blocks.0.weight", [5, 3]), at: 0)
    edited.tensors.append(tensor(Self.merger.name, [hidden, 4]))
    edited.config = JSON.Object([
      ("model_type", .text("larger")), ("text_config", .object(edited.config)),
      ("vision_config", .object([("hidden_size", .int(4))])), ("image_token_id", .int(3)),
    ])
    try edited.write(to: directory)
  }

  private func model(_ directory: String) throws -> SourceModel {
    try SourceModel(directory: directory) { config, file in
      let reader = try ConfigReader(config, file: file).tower("text_config", weightPrefix: Self.prefix)
      var sizes = try Qwen3.describe(reader)
      sizes.others = [TowerTests.merger]
      sizes.carriedPrefixes = ["model.visual.blocks."]
      return sizes.withSize(4, of: Dimension(fixed: "vision_width"))
    }
  }

  @Test func aTowerIsPrunedAsTheModelAlone() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    let pruning = try #require(
      golden.facts["prunings"]?.array?.first { $0["export_config"]?["hidden_size"] != nil })
    let name = try #require(pruning["name"]?.string)
    let config = try ExportConfig(parsing: try #require(pruning["export_config"]))
    try withTemporaryDirectory { directory in
      try larger(golden, at: directory + "/larger")
      let model = try model(directory + "/larger")
      let rows = try golden.rows()
      #expect(relativeDifference(try logits(model, rows: rows), try golden.floats("logits.float32")) <= 1e-4)

      let observer = ImportanceObserver(model.description, microBatch: 1)
      try Executor(model, dtype: .float32).observe(TokenBatch.groups(rows, size: 1), observer: observer)
      let selection = try observer.scores().selection(for: config, of: model.description)
      let output = directory + "/pruned"
      try Exporter(model, selection: selection).write(to: output, record: .object([]), importance: nil)

      let pruned = try model.sibling(directory: output)
      let found = try logits(pruned, rows: rows)
      #expect(relativeDifference(found, try golden.floats("pruned.\(name).logits")) <= 1e-4)
      // The section is rewritten; what stands beside it is as it was.
      let written = pruned.checkpoint.config
      #expect(written["text_config"]?["hidden_size"]?.int == config[.hiddenSize])
      #expect(written["vision_config"]?["hidden_size"]?.int == 4 && written["image_token_id"]?.int == 3)
      #expect(written["hidden_size"] == nil)
      // The tower is carried bit for bit, and its projection cut along.
      let source = model.checkpoint
      let carried = "model.visual.blocks.0.weight"
      #expect(try Array(source.bytes(of: carried)) == Array(pruned.checkpoint.bytes(of: carried)))
      let rowBytes = 4 * 2
      let whole = try Array(source.bytes(of: Self.merger.name))
      let kept = try #require(selection.kept(.hidden, layer: nil))
      let expected = kept.flatMap { whole[$0 * rowBytes..<($0 + 1) * rowBytes] }
      #expect(try Array(pruned.checkpoint.bytes(of: Self.merger.name)) == expected)
    }
  }

  /// A projection into the stream turns with it; one of which nobody says what it does is in the way.
  @Test func aTowerTurnsWithTheStream() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    try withTemporaryDirectory { directory in
      try larger(golden, at: directory + "/larger")
      let model = try model(directory + "/larger")
      let hidden = model.description.sizes[.hidden]
      let rotation = try RotationTests.rotation(model, golden.rows())
      var selection = Selection(all: model.description)
      selection.cuts[.hidden] = .everywhere(Array(0..<hidden / 2))
      let output = directory + "/pruned"
      try Exporter(model, selection: selection, rotation: rotation).write(to: output, record: .null, importance: nil)
      let directions = try Tensor(rotation.directions, shape: [hidden, hidden]).narrow(
        dim: 1, start: 0, length: hidden / 2)
      let expected = try directions.transpose(0, 1).matmul(model.tensor(Self.merger.name).to(.float32))
      let found = try model.sibling(directory: output).tensor(Self.merger.name).floats()
      #expect(relativeDifference(found, try expected.floats()) < 1e-2)

      var untold = model.description
      untold.others = [Weight(Self.merger.name, Self.merger.axes)]
      #expect(untold.rotationObstacle?.contains(Self.merger.name) == true)
      #expect(model.description.rotationObstacle == nil)
    }
  }

  @Test func tensorsThatNobodyDeclaredAreRefused() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    try withTemporaryDirectory { directory in
      try larger(golden, at: directory + "/larger")
      let error = #expect(throws: ModelError.self) {
        try SourceModel(directory: directory + "/larger") { config, file in
          try Qwen3.describe(try ConfigReader(config, file: file).tower("text_config", weightPrefix: Self.prefix))
        }
      }
      #expect(error?.description.contains("model.visual.") == true)
    }
  }

  /// Kimi K2.5 as it is published, as `transformers` writes it, and with a merger that is none.
  @Test func kimiIsReadByAllOfItsNames() throws {
    let golden = try EditedCheckpoint(Golden.root + "/Tests/Goldens/moe/deepseek_v3")
    let hidden = try #require(golden.config["hidden_size"]?.int)
    func kimi(_ prefix: String, _ head: String, projector: String, at directory: String) throws -> SourceModel {
      var edited = golden
      for index in edited.tensors.indices {
        let name = edited.tensors[index].name
        edited.tensors[index].name =
          name.hasPrefix("model.") ? prefix + name.dropFirst("model.".count) : name == "lm_head.weight" ? head : name
        if prefix.contains("blocks") {
          edited.tensors[index].name.replace(
            "language_model.model.blocks.layers.", with: "language_model.model.blocks.")
          edited.tensors[index].name.replace("blocks.embed_tokens", with: "embed_tokens")
          edited.tensors[index].name.replace("blocks.norm", with: "norm")
        }
      }
      func add(_ name: String, _ shape: [Int]) {
        edited.tensors.append(
          EditedCheckpoint.Entry(
            name: name, type: .bfloat16, shape: shape, bytes: (0..<2 * shape.reduce(1, *)).map { UInt8($0 % 60) }))
      }
      add(projector + "proj.2.weight", [hidden, 12])
      add(projector + "proj.2.bias", [hidden])
      add(projector + "proj.0.weight", [12, 12])
      add("vision_tower.encoder.blocks.0.wo.bias", [3])
      var text = edited.config
      text["model_type"] = .text("kimi_k2")
      edited.config = JSON.Object([
        ("model_type", .text("kimi_k25")), ("tie_word_embeddings", .bool(false)), ("text_config", .object(text)),
        (
          "vision_config",
          .object([
            ("vt_hidden_size", .int(3)), ("merge_kernel_size", .array([.int(2), .int(2)])),
            ("text_hidden_size", .int(hidden)),
          ])
        ),
      ])
      try edited.write(to: directory)
      return try SourceModel(directory: directory)
    }
    try withTemporaryDirectory { directory in
      let published = try kimi(
        "language_model.model.", "language_model.lm_head.weight", projector: "mm_projector.", at: directory + "/a")
      let rows = [[Int32]](repeating: [3, 1, 4, 1, 5, 9], count: 1)
      let expected = try logits(published, rows: rows)
      let others = [
        try kimi("model.language_model.", "lm_head.weight", projector: "mm_projector.", at: directory + "/b"),
        try kimi(
          "language_model.model.blocks.", "language_model.lm_head.weight", projector: "model.mm_projector.",
          at: directory + "/c"),
      ]
      for other in others { #expect(try logits(other, rows: rows) == expected) }

      var architecture = Architecture(published.description)
      architecture.sizes[.hidden] = hidden / 2
      let config = try published.description.prunedConfig(for: architecture)
      #expect(config["vision_config"]?["text_hidden_size"]?.int == hidden / 2)
      #expect(config["text_config"]?["hidden_size"]?.int == hidden / 2)
      for wrong in [JSON.array([.int(2)]), .array([.int(2), .int(0)]), .array([.text("2"), .int(2)])] {
        var config = published.checkpoint.config
        var vision = try #require(config["vision_config"]?.object)
        vision["merge_kernel_size"] = wrong
        config["vision_config"] = .object(vision)
        #expect("merge_kernel_size") { try Families.describe(config: config, file: "config.json") } throws: {
          "\($0)".contains("\"merge_kernel_size\" should be")
        }
      }
    }
  }
}
