import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// Checkpoints whose names or ties are not what their config says, of every family.
@Suite struct TensorNamesTests {
  /// Writes an edited golden, opens it and runs the golden's rows.
  private func open(
    _ golden: Golden, in directory: String, _ edit: (inout EditedCheckpoint, ModelDescription) throws -> Void
  ) throws -> (model: SourceModel, logits: [Float]) {
    var checkpoint = try EditedCheckpoint(golden.directory)
    try edit(&checkpoint, SourceModel(directory: golden.directory).description)
    try checkpoint.write(to: directory)
    let model = try SourceModel(directory: directory)
    return (model, try logits(model, rows: golden.rows()))
  }

  private func names(ofExportOf model: SourceModel, in directory: String) throws -> Set<String> {
    let all = Selection(all: model.description)
    try Exporter(model, selection: all)
      .write(to: directory, record: .object([]), importance: nil)
    return Set(try CheckpointReader(directory: directory).tensors.map(\.name))
  }

  @Test(arguments: RandomArchitectureTests.models)
  func aBaseModelsNamesAreReadAndWrittenWithTheirPrefix(_ golden: Golden) throws {
    try withTemporaryDirectory { directory in
      let (model, found) = try open(golden, in: directory + "/base") { checkpoint, model in
        for index in checkpoint.tensors.indices {
          let name = checkpoint.tensors[index].name
          if name.hasPrefix(model.names.prefix) {
            checkpoint.tensors[index].name = String(name.dropFirst(model.names.prefix.count))
          }
        }
        #expect(checkpoint.tensors.allSatisfy { !$0.name.hasPrefix(model.names.prefix) })
      }
      let source = try SourceModel(directory: golden.directory)
      #expect(found == (try logits(source, rows: golden.rows())))
      let written = try names(ofExportOf: model, in: directory + "/out")
      #expect(written == Set(source.checkpoint.tensors.map(\.name)))
      #expect(model.notes == source.notes)
    }
  }

  @Test(arguments: RandomArchitectureTests.models)
  func aHeadOfItsOwnIsUsedWhateverTheConfigSays(_ golden: Golden) throws {
    // Nemotron-H ties nothing, whatever its config says.
    let ties = try SourceModel(directory: golden.directory).description.family != "nemotron_h"
    func own(_ tied: Bool?) -> (inout EditedCheckpoint, ModelDescription) throws -> Void {
      { checkpoint, model in
        let embedding = try #require(checkpoint[model.embedding.name])
        let name = model.head?.name ?? model.names.heads[0]
        checkpoint[name] = EditedCheckpoint.copy(of: embedding, named: name, reversed: true)
        checkpoint.config["tie_word_embeddings"] = tied.map(JSON.bool)
      }
    }
    try withTemporaryDirectory { directory in
      let said = try open(golden, in: directory + "/said", own(false))
      #expect(said.model.headNote == nil && said.model.description.head != nil)
      let found = try open(golden, in: directory + "/found", own(true))
      #expect(found.logits == said.logits)
      #expect((found.model.headNote != nil) == ties)
      #expect(found.model.description.tensors().map(\.name) == said.model.description.tensors().map(\.name))
      let written = try names(ofExportOf: found.model, in: directory + "/out")
      #expect(written == Set(said.model.checkpoint.tensors.map(\.name)))
      let exported = try SourceModel(directory: directory + "/out")
      #expect(exported.headNote == nil)
      if ties { #expect(exported.description.config["tie_word_embeddings"]?.bool == false) }
      #expect(try logits(exported, rows: golden.rows()) == said.logits)
    }
  }

  @Test(arguments: RandomArchitectureTests.models)
  func oneTableUnderEitherNameOrUnderBothIsATiedModel(_ golden: Golden) throws {
    guard try SourceModel(directory: golden.directory).description.family != "nemotron_h" else { return }
    func tied(_ stored: @escaping (ModelDescription, String) -> [String])
      -> (inout EditedCheckpoint, ModelDescription) throws -> Void
    {
      { checkpoint, model in
        let table = try #require(checkpoint[model.embedding.name])
        let head = model.head?.name ?? model.names.heads[0]
        checkpoint[head] = nil
        checkpoint[model.embedding.name] = nil
        for name in stored(model, head) { checkpoint[name] = EditedCheckpoint.copy(of: table, named: name) }
        checkpoint.config["tie_word_embeddings"] = .bool(true)
      }
    }
    try withTemporaryDirectory { directory in
      let plain = try open(golden, in: directory + "/plain", tied { model, _ in [model.embedding.name] })
      let both = try open(golden, in: directory + "/both", tied { model, head in [model.embedding.name, head] })
      let head = try open(golden, in: directory + "/head", tied { _, head in [head] })
      for (name, other) in [("both", both), ("head", head)] {
        #expect(other.logits == plain.logits)
        #expect(other.model.description.isTied && other.model.headNote == nil)
        let written = try names(ofExportOf: other.model, in: directory + "/out-" + name)
        #expect(written == Set(plain.model.checkpoint.tensors.map(\.name)))
      }
      // Every family's other names for its head.
      for alias in plain.model.description.names.heads {
        let other = try open(golden, in: directory + "/alias-" + alias, tied { _, _ in [alias] })
        #expect(other.logits == plain.logits)
      }
    }
  }

  private func failure(_ name: String, _ edit: (inout EditedCheckpoint) throws -> Void) throws -> String {
    try withTemporaryDirectory { directory in
      var checkpoint = try EditedCheckpoint(Golden.root + "/Tests/Goldens/" + name)
      try edit(&checkpoint)
      try checkpoint.write(to: directory)
      do {
        _ = try SourceModel(directory: directory)
        return ""
      } catch { return "\(error)" }
    }
  }

  @Test func aHeadThatIsNowhereIsAnErrorThatNamesTheField() throws {
    let message = try failure("dense/llama2") { $0["lm_head.weight"] = nil }
    #expect(message.contains("lm_head.weight") && message.contains("tie_word_embeddings"), "\(message)")
    // Tied by the config, and of another shape than the embedding.
    let shape = try failure("dense/qwen3_tied") { checkpoint in
      var head = try #require(checkpoint["model.embed_tokens.weight"])
      head.name = "lm_head.weight"
      head.shape = [head.shape[1], head.shape[0]]
      checkpoint["lm_head.weight"] = head
    }
    #expect(shape.contains("lm_head.weight should have shape"), "\(shape)")
  }

  @Test func oneWeightUnderTwoNamesIsRefused() throws {
    let twice = try failure("dense/llama2") { checkpoint in
      let norm = try #require(checkpoint["model.norm.weight"])
      checkpoint["norm.weight"] = EditedCheckpoint.copy(of: norm, named: "norm.weight")
    }
    #expect(twice.contains("model.norm.weight and norm.weight") || twice.contains("norm.weight and model.norm.weight"))
    let heads = try failure("dense2/gpt_neox_parallel") { checkpoint in
      let head = try #require(checkpoint["embed_out.weight"])
      checkpoint["lm_head.weight"] = EditedCheckpoint.copy(of: head, named: "lm_head.weight")
    }
    #expect(heads.contains("embed_out.weight and lm_head.weight"), "\(heads)")
  }

  @Test func buffersArePassedOverInFamiliesThatHaveThem() throws {
    func adding(_ names: [String]) -> (inout EditedCheckpoint) throws -> Void {
      { checkpoint in
        let norm = try #require(checkpoint.tensors.first { $0.shape.count == 1 })
        for name in names { checkpoint[name] = EditedCheckpoint.copy(of: norm, named: name) }
      }
    }
    let masks = ["gpt_neox.layers.0.attention.bias", "layers.1.attention.masked_bias"]
    #expect(try failure("dense2/gpt_neox_serial", adding(masks + ["rotary_emb.inv_freq"])) == "")
    #expect(try failure("dense/llama2", adding(["model.layers.0.self_attn.rotary_emb.inv_freq"])) == "")
    let message = try failure("dense/llama2", adding(["model.layers.0.attention.bias"]))
    #expect(message.contains("does not have: model.layers.0.attention.bias"), "\(message)")
  }

  @Test(arguments: [
    "model.layers.0.mlp.up_proj.weight_scale", "model.layers.1.self_attn.q_proj.weight_scale_inv",
    "model.layers.0.self_attn.k_proj.k_scale", "model.layers.0.mlp.up_proj.qweight",
    "layers.0.mlp.down_proj.weight_packed",
  ]) func quantisedWeightsAreCalledSo(_ name: String) throws {
    let message = try failure("dense/llama2") { checkpoint in
      let norm = try #require(checkpoint["model.norm.weight"])
      checkpoint[name] = EditedCheckpoint.copy(of: norm, named: name)
      checkpoint["model.layers.0.mlp.up_proj.weight"] = nil
    }
    #expect(message.contains("quantised") && message.contains(name), "\(message)")
  }
}
