import Foundation
import JSON
import TestSupport
import Testing

/// Kept importance is the same bytes on any number of threads.
@Suite struct ThreadCountTests {
  @Test(arguments: [
    (nil, #"{"ffn_hidden_size": 448}"#), ("moe/qwen2_moe", #"{"moe_ffn_hidden_size": 8}"#),
    ("mamba/nemotron_h_experts", #"{"mamba_head_dim": 4}"#),
  ])
  func keptImportanceIsTheSameBytes(_ name: String?, _ config: String) throws {
    try withTemporaryDirectory { directory in
      let model = try name.map { try Program.golden($0, in: directory) } ?? Program.model
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
