import Foundation
import JSON
import Jobs
import Messages
import Minitron
import Models
import Testing

/// Requests as programs and files have them.
@Suite struct RequestTests {
  private func reread<T: Codable>(_ value: T) throws -> T {
    try JSONDecoder().decode(T.self, from: JSONEncoder().encode(value))
  }

  @Test func requestsSurviveJSON() throws {
    var request = PruneRequest(model: "model", output: "pruned")
    #expect(try reread(request) == request)
    request.search.targetParams = try ParameterCount("3.2M")
    request.search.targetMemory = try Mebibytes("1.2e4")
    request.search.architecture = try ExportConfig(#"{"hidden_size": 128, "num_layers": 6}"#)
    request.search.skipped = ["num_layers"]
    request.search.droppedLayers = try LayerNumbers("7,3-4")
    request.search.keptLayers = try LayerNumbers("1")
    request.layerRanking = LayerRanking([2, 1])
    request.layerScore = .kl
    request.layerScoreRows = 5
    request.scoreFunction = try ScoreFunctionName("neg_kl")
    request.calibration = ["a.jsonl"]
    request.evaluation.rows = 8
    request.compute.memoryBudget = try ByteCount("4GiB")
    request.compute.device = .cpu
    request.expertChannels = .own
    #expect(try reread(request) == request)
    var evaluation = EvalRequest(model: "model")
    evaluation.evaluation.questions = "mmlu"
    #expect(try reread(evaluation) == evaluation)
  }

  @Test func fieldsHaveTheNamesOfFlagsAndDefaults() throws {
    let text = """
      {"hf_model_name_or_path": "m", "output_hf_path": "o", "prune_target_params": "6e9", "seq_length": 64,
       "prune_export_config": "{\\"num_layers\\": 4}", "eval_num_samples": 2, "compute_dtype": "float32"}
      """
    let request = try JSONDecoder().decode(PruneRequest.self, from: Data(text.utf8))
    #expect(request.search.targetParams?.count == 6_000_000_000)
    #expect(request.search.architecture?[.numLayers] == 4)
    #expect((request.search.seqLength, request.evaluation.rows) == (64, 2))
    #expect(request.compute.computeType == .float32)
    #expect((request.calibrationRows, request.batchSize, request.scoreFunction.text) == (1024, 1, "mmlu_10pct_bs1"))
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(PruneRequest.self, from: Data(text.replacing("6e9", with: "six").utf8))
    }
  }

  @Test func whatIsWrongNamesParameters() {
    var request = PruneRequest(model: "m", output: "o")
    func problem() -> Message? {
      do { try request.validate() } catch let error as RequestError { return error.message } catch {}
      return nil
    }
    #expect(problem()?.description.hasPrefix("say what to prune to: prune_target_params, ") == true)
    request.search.targetParams = 1_000
    #expect(problem() == nil)
    request.search.topK = 0
    #expect(problem()?.description == "top_k should be at least 1, found 0")
    #expect(problem()?.text { "--\($0)" } == "--top_k should be at least 1, found 0")
    request.search.topK = 1
    request.search.skipped = ["hiden_size"]
    #expect(problem()?.description.contains("did you mean hidden_size?") == true)
  }

  @Test func messagesKeepTheParametersOfMessagesInThem() {
    let inner: Message = "choose \(parameter: "seed") \(3)"
    let outer: Message = "\(inner); or \(RequestError("\(parameter: "top_k")"))"
    #expect(outer.description == "choose seed 3; or top_k")
    #expect(outer.text { "<\($0)>" } == "choose <seed> 3; or <top_k>")
    #expect([inner, "b"].joined(separator: " ").text { $0.uppercased() } == "choose SEED 3 b")
  }
}
