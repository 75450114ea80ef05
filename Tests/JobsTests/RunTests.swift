import Foundation
import JSON
import Jobs
import Minitron
import Models
import Synchronization
import TestSupport
import Testing

/// Runs without a command line.
@Suite(.serialized) struct RunTests {
  private static let examples = Golden.root + "/Examples"

  /// Keeps what it is told.
  private final class Recorder: RunListener {
    let events = Mutex<[RunEvent]>([])
    let stopsAt: String?

    init(stopsAt: String? = nil) { self.stopsAt = stopsAt }

    func receive(_ event: RunEvent) throws {
      events.withLock { $0.append(event) }
      if case .advanced(let step, _) = event, step.label == stopsAt { throw Stopped() }
    }
  }

  private struct Stopped: Error {}

  private func request(_ directory: String) -> PruneRequest {
    var request = PruneRequest(model: Self.examples + "/model", output: directory + "/pruned")
    request.search.targetParams = 3_200_000
    request.search.channelDivisor = 32
    request.search.seqLength = 64
    request.search.topK = 2
    request.calibration = [Self.examples + "/data/calib.jsonl"]
    request.calibrationRows = 4
    request.keptScores = directory + "/kept"
    request.evaluation.rows = 4
    request.scoreFunction = ScoreFunctionName.negLoss
    return request
  }

  @Test func aRunTellsItsStepsAndReturnsWhatItMade() throws {
    try withTemporaryDirectory { directory in
      let recorder = Recorder()
      let file = directory + "/events.jsonl"
      try Data().write(to: URL(fileURLWithPath: file))
      let lines = JSONLines(try #require(FileHandle(forWritingAtPath: file)))
      let outcome = try PruneJob(request(directory), listeners: [recorder, lines]).run()
      #expect(outcome.pruned.params <= 3_200_000 && outcome.original.params == 3_935_936)
      #expect(outcome.search?.candidates.count == 2)
      #expect(outcome.search?.best?.config == outcome.architecture)
      let written = try SourceModel(directory: outcome.output)
      #expect(written.description.layers.count == outcome.keptLayers.count)
      // What is encoded is all of it.
      #expect(try JSONDecoder().decode(PruneOutcome.self, from: JSONEncoder().encode(outcome)) == outcome)
      let card = try String(contentsOfFile: outcome.output + "/README.md", encoding: .utf8)
      #expect(card.contains("## The request") && card.contains("\"prune_target_params\" : \"3200000\""))

      var (begun, ended, scored) = (Set<Int>(), Set<Int>(), 0)
      for event in recorder.events.withLock({ $0 }) {
        switch event {
        case .began(let step): begun.insert(step.id)
        case .finished(let step, _), .dropped(let step): ended.insert(step.id)
        case .scored: scored += 1
        default: break
        }
      }
      #expect(begun == ended && begun.count >= 4)
      #expect(scored == 2)
      for line in try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n") {
        #expect(try JSON(parsing: Array(line.utf8))["event"]?.string != nil)
      }

      // Asked for again, it is there.
      let again = try PruneJob(request(directory)).run()
      #expect(again.wasFinished && again.architecture == outcome.architecture && again.json == outcome.json)
      #expect(again.pruned == outcome.pruned && again.keptLayers == outcome.keptLayers)
    }
  }

  @Test func aListenerEndsTheRun() throws {
    try withTemporaryDirectory { directory in
      #expect(throws: Stopped.self) {
        try PruneJob(request(directory), listeners: [Recorder(stopsAt: "calibration")]).run()
      }
      #expect(!FileManager.default.fileExists(atPath: directory + "/pruned"))
    }
  }

  @Test func aWinnerBelowTheBoundIsThrownWithItsOutcome() throws {
    try withTemporaryDirectory { directory in
      var request = request(directory)
      request.scoreLowerBound = 1
      let error = #expect(throws: ScoreBelowBound.self) { try PruneJob(request).run() }
      #expect(error?.outcome.output == request.output)
      #expect(error?.description.contains("below score_lower_bound 1.0") == true)
    }
  }

  @Test func kindredRequestsDifferInWhatTheyRecord() throws {
    try withTemporaryDirectory { directory in
      var request = request(directory)
      request.search.targetParams = nil
      request.search.architecture = ExportConfig([(.numLayers, 6)])
      request.layerRanking = LayerRanking(Array(1...8))
      let outcome = try PruneJob(request).run()
      #expect(outcome.keptLayers == [1, 2, 3, 4, 5, 6] && outcome.computeType == nil && outcome.score == nil)
      request.layerRanking = LayerRanking(Array((1...8).reversed()))
      let error = #expect(throws: RunError.self) { try PruneJob(request).run() }
      #expect(error?.description.contains("choose another output_hf_path or remove it") == true)
    }
  }

  @Test func evaluationsAndPlansAreJobsToo() throws {
    var evaluation = EvalRequest(model: Self.examples + "/model")
    evaluation.evaluation.questions = Self.examples + "/data/mmlu"
    evaluation.percent = 5
    evaluation.evaluation.datasets = [Self.examples + "/data/heldout.jsonl"]
    evaluation.evaluation.rows = 4
    evaluation.seqLength = 64
    evaluation.reference = evaluation.model
    // A model differs in nothing from itself, while both are computed by the same kernels.
    let outcome = try WholeProcess.alone { try EvalJob(evaluation).run() }
    let accuracy = try #require(outcome.accuracy)
    #expect(accuracy.mean > 0.8 && accuracy.parts.count == 12)
    #expect(accuracy.parts.reduce(0) { $0 + $1.items } == accuracy.items)
    #expect(outcome.loss?.items == 4 && outcome.divergence?.mean == 0)

    var request = PruneRequest(model: Self.examples + "/model", output: "")
    request.search.targetParams = 3_200_000
    request.search.channelDivisor = 32
    let plan = try PlanJob(request).run()
    #expect(plan.search.candidates.count == 10 && plan.search.scoring == nil && !plan.isByHand)
    request.search.targetParams = 1_000
    let error = #expect(throws: ModelError.self) { try PlanJob(request).run() }
    #expect(error?.description.contains("No ss_channel_divisor, max_width_pruning and max_depth_pruning") == true)
  }

  /// What cannot learn is refused before anything is measured, by what asks for learning.
  @Test func modulesThatPredictDoNotLearn() throws {
    try withTemporaryDirectory { directory in
      let model = directory + "/model"
      try EditedCheckpoint(predicting: Golden.root + "/Tests/Goldens/moe/qwen3_next", "num_nextn_predict_layers")
        .write(to: model)
      var request = request(directory)
      (request.model, request.prediction) = (model, .keep)
      #expect("modules that predict further tokens are not trained here") {
        try StagedPruneJob(StagedRequest(request, stages: 2, tokens: 1000)).run()
      } throws: { "\($0)".contains("stages: \(model): modules that predict further tokens are not trained here") }
      let tensors = try FileManager.default.subpathsOfDirectory(atPath: directory).filter {
        $0.hasSuffix(".safetensors")
      }
      #expect(tensors == ["model/model.safetensors"], "nothing was measured or written")
    }
  }
}
