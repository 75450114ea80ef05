import Foundation
import JSON
import Models
import TestSupport
import Testing

/// `--expert_channels` and the flag of the reference that means the same.
@Suite struct ExpertChannelsCommandTests {
  private func weights(_ directory: String) throws -> Data {
    try Data(contentsOf: URL(fileURLWithPath: directory + "/model.safetensors"))
  }

  @Test func eachExpertKeepsItsOwnChannelsWhenAsked() throws {
    try withTemporaryDirectory { directory in
      let model = try Program.golden("moe/qwen2_moe", in: directory)
      func run(_ name: String, _ flags: [String]) throws -> Program.Result {
        try Program.run(
          prune(
            to: directory + "/" + name, ["--prune_export_config", #"{"moe_ffn_hidden_size": 8}"#] + flags, model: model)
        )
      }
      let kept = ["--prune_intermediate_ckpt", directory + "/kept"]
      for (name, flags) in [
        ("plain", []), ("shared", ["--expert_channels", "shared"]), ("own", ["--expert_channels", "own"] + kept),
        ("reference", ["--no_moe_grouped_gemm"]),
      ] { try run(name, flags).expectSuccess() }
      #expect(try weights(directory + "/plain") == weights(directory + "/shared"))
      #expect(try weights(directory + "/own") == weights(directory + "/reference"))
      #expect(try weights(directory + "/own") != weights(directory + "/shared"))
      _ = try SourceModel(directory: directory + "/own")
      let record = try Golden.json(directory + "/own/coppice.json")
      #expect(record["made_of"]?["expert_channels"]?.string == "own")
      // Scores of one kind are not taken for those of the other.
      try run("other", kept).expectFailure(1, saying: "expert_channels was own and is shared")
    }
  }

  /// Scores do not depend on how many threads share the rows out. (On small matrices libtorch's own products may round
  /// otherwise on two threads than on one; which rows are added up together is a test of `ExpertGrouping`.)
  @Test(arguments: ["shared", "own"]) func threadsDoNotShowInScores(_ channels: String) throws {
    try withTemporaryDirectory { directory in
      let model = try Program.golden("moe/qwen2_moe", in: directory)
      let found = try ["1", "2"].map { threads in
        let output = directory + "/out-" + threads
        let flags = ["--prune_export_config", #"{"moe_ffn_hidden_size": 8}"#, "--expert_channels", channels]
        var arguments = prune(to: output, flags + ["--calib_batch_size", "2"], model: model)
        // Rows enough for several blocks of an expert's.
        if let at = arguments.firstIndex(of: "--seq_length") { arguments[at + 1] = "512" }
        let result = try Program.run(arguments, environment: ["OMP_NUM_THREADS": threads])
        result.expectSuccess()
        return try numbers(#require(Golden.json(output + "/coppice_importance.json")["scores"]))
      }
      #expect(found[0].count > 100 && found[0].count == found[1].count)
      for (one, two) in zip(found[0], found[1]) { #expect(abs(one - two) <= 1e-6 * abs(one)) }
    }
  }

  private func numbers(_ json: JSON) -> [Double] {
    if let list = json.array { return list.flatMap(numbers) }
    if let object = json.object { return object.entries.flatMap { numbers($0.value) } }
    return json.double.map { [$0] } ?? []
  }

  @Test func otherWordsAndContradictionsAreWrongUsage() throws {
    try withTemporaryDirectory { directory in
      let byHand = ["--prune_export_config", #"{"ffn_hidden_size": 256}"#]
      try Program.run(prune(to: directory + "/out", byHand + ["--expert_channels", "both"]))
        .expectFailure(64, saying: "--expert_channels", "shared or own")
      try Program.run(
        prune(to: directory + "/out", byHand + ["--expert_channels", "shared", "--no_moe_grouped_gemm"])
      ).expectFailure(64, saying: "contradict")
    }
  }
}
