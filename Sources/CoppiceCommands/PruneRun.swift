import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import Report

/// What one run works with.
struct PruneRun {
  let model: SourceModel
  let inputs: PruneInputs
  let request: PruneRequest
  let claim: OutputClaim
  let executor: Executor
  let store: PruneStore
}

/// Keeps scores for resuming. Where that fails the run goes on: its result is worth more than the chance to resume.
func keep(in store: PruneStore, _ console: Console, _ save: () throws -> Void) {
  do { try save() } catch { console.warn("scores could not be kept for resuming: \(error)") }
}

extension PruneJob {
  /// The output, kept from other processes until the end of the run; nil when something is there already.
  func claimOutput() throws -> OutputClaim? {
    do { return try OutputClaim(outputPath) } catch let error as CheckpointError where error.kind == .exists {
      return nil
    }
  }

  /// Says that the result is there already, and what it is.
  func report(_ finished: FinishedOutput) throws {
    console.note("\(finished.path) holds the result of this command already; nothing to do")
    if options.output.json, let result = finished.record["result"] {
      try console.result(result.serialized(indent: 2))
    }
    if let score = finished.record["score"]?.double { try checkBound(score) }
  }

  func store(_ inputs: PruneInputs, _ executor: Executor) throws -> PruneStore {
    let madeOn = JSON.object([("device", .text("\(executor.weights.device)"))])
    if let named = options.intermediate {
      return PruneStore(directory: named, fresh: options.fresh, madeOn: madeOn)
    }
    let store = PruneStore(
      directory: PruneStore.automaticDirectory(inputs.fingerprint), fresh: options.fresh, madeOn: madeOn)
    do {
      guard store.directory != nil else {
        throw ModelError("there is no home directory: HOME is unset and the user has none")
      }
      try store.checkWritable()
      return store
    } catch {
      console.warn("scores will not be kept for resuming: \(error). --prune_intermediate_ckpt names another place")
      return PruneStore(directory: nil, fresh: options.fresh, madeOn: madeOn)
    }
  }

  /// Says which layer is kept whatever its rank, where there is one.
  func noteIndispensable(_ scores: ImportanceScores, keeping count: Int?, of model: ModelDescription) {
    guard let note = model.indispensableNote(scores.layerRanking, keeping: count ?? model.layers.count) else { return }
    console.note(note)
  }

  func checkBound(_ score: Double) throws {
    guard let bound = options.scoreLowerBound, score < bound else { return }
    throw ModelError(
      "the best candidate scores \(score), below --score_lower_bound \(bound); it was written to \(outputPath) all the "
        + "same")
  }
}
