import Foundation
import JSON
import TestSupport
import Testing

/// Kept importance is the same bytes on any number of threads.
@Suite struct ThreadCountTests {
  /// A golden that the bundled tokenizer fits: its vocabulary is repeated.
  private func model(_ name: String, in directory: String) throws -> String {
    var checkpoint = try EditedCheckpoint(Golden.root + "/Tests/Goldens/" + name)
    let vocabulary = try #require(checkpoint.config["vocab_size"]?.int)
    let times = 2048 / vocabulary + 1
    for name in ["model.embed_tokens.weight", "backbone.embeddings.weight", "lm_head.weight"] {
      guard var table = checkpoint[name] else { continue }
      table.shape[0] *= times
      table.bytes = Array(repeatElement(table.bytes, count: times).joined())
      checkpoint[name] = table
    }
    checkpoint.config["vocab_size"] = .int(vocabulary * times)
    let path = directory + "/model"
    try checkpoint.write(to: path)
    for name in ["tokenizer.json", "tokenizer_config.json"] {
      try FileManager.default.copyItem(atPath: Program.model + "/" + name, toPath: path + "/" + name)
    }
    return path
  }

  @Test(arguments: [
    (nil, #"{"ffn_hidden_size": 448}"#), ("moe/qwen2_moe", #"{"moe_ffn_hidden_size": 8}"#),
    ("mamba/nemotron_h_experts", #"{"mamba_head_dim": 4}"#),
  ])
  func keptImportanceIsTheSameBytes(_ name: String?, _ config: String) throws {
    try withTemporaryDirectory { directory in
      let model = try name.map { try self.model($0, in: directory) } ?? Program.model
      var found: Set<Data> = []
      for threads in ["1", "2", "3"] {
        let kept = directory + "/kept" + threads
        try Program.run(
          prune(
            to: directory + "/out" + threads,
            ["--prune_export_config", config, "--prune_intermediate_ckpt", kept, "--compute_dtype", "float32"],
            model: model), environment: ["OMP_NUM_THREADS": threads]
        ).expectSuccess()
        found.insert(try Data(contentsOf: URL(fileURLWithPath: kept + "/importance.json")))
      }
      #expect(found.count == 1)
    }
  }
}
