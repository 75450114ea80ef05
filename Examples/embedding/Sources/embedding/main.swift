import Foundation
import Jobs

// Prunes a model to 3.2 million parameters and prints what became of it, as JSON. The first argument is the folder with
// `model` and `data` (that of the examples), the second the output.
let folder = CommandLine.arguments.dropFirst().first ?? ".."
let output = CommandLine.arguments.dropFirst(2).first ?? "pruned"

var request = PruneRequest(model: folder + "/model", output: output)
request.search.targetParams = 3_200_000
request.search.channelDivisor = 32
request.search.maxDepthPruning = 0.5
request.search.seqLength = 192
request.search.topK = 3
request.calibration = [folder + "/data/calib.jsonl"]
request.calibrationRows = 32
request.evaluation.questions = folder + "/data/mmlu/test.jsonl"
request.scoreFunction = .mmlu(percent: 5)

/// Says how far each step has come.
struct Progress: RunListener {
  func receive(_ event: RunEvent) throws {
    switch event {
    case .began(let step): say("\(step.label) …")
    case .warning(let warning): say("warning: \(warning.message)")
    case .scored(let architecture, let score): say("\(architecture): \(score.mean) ± \(score.standardError)")
    default: break
    }
  }

  private func say(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}

do {
  let outcome = try PruneJob(request, listeners: [Progress()]).run()
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
  print(String(decoding: try encoder.encode(outcome), as: UTF8.self))
} catch {
  FileHandle.standardError.write(Data("error: \(error)\n".utf8))
  exit(1)
}
