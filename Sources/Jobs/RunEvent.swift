import Formatting
import Foundation
public import Messages
public import Minitron
public import Recovery
public import Training

/// What happens in a run, for those who watch it.
public enum RunEvent: Sendable {
  /// The model's config has been read.
  case described(family: String)
  /// Something that is good to know.
  case note(RunNote)
  /// Something that the user should know although the run goes on.
  case warning(RunWarning)
  /// A step that may take long has begun.
  case began(RunStep)
  /// So many units of the step are done.
  case advanced(RunStep, done: Int)
  /// The step has come to its end. `deed` says what was done, such as "scored 3 candidates", where units do not say it.
  case finished(RunStep, deed: String?)
  /// The step is left without an end: by an error, or since it was not worth telling.
  case dropped(RunStep)
  /// The search has been done: its space and its candidates, which have no scores yet.
  case searched(SearchOutcome)
  /// A candidate was scored on all that it will be scored on in this walk.
  case scored(ExportConfig, ScoreOutcome)
  /// All candidates are scored and the best of them is chosen.
  case chosen(SearchOutcome)
}

/// A step whose progress is told.
public struct RunStep: Sendable, Hashable, Codable {
  /// Its number among the steps of the run.
  public let id: Int
  /// What is being done: "calibration".
  public let label: String
  /// Units in all; nil when that is not known.
  public let total: Int?
  /// What is counted, in the plural: "tokens".
  public let unit: String
}

/// Notes of a run.
public enum RunNote: Sendable {
  /// Something of the checkpoint is left out, or its weights say otherwise than its config.
  case checkpoint(String)
  /// Which processes do what.
  case crew(Message)
  /// Something about what is fetched from the hub.
  case hub(String)
  /// A model of the hub is used as the cache has it.
  case cachedModel(String, String, commit: String)
  /// The output is there already: the same request made it.
  case finishedAlready(output: String)
  /// Points of the search space that a rule of the architecture refuses.
  case pointsRefused(Int, of: Int, rule: String)
  /// An architecture by hand: nothing is scored.
  case byHand(ExportConfig, params: Int)
  case importanceKept(directory: String?)
  case layerScoresKept(directory: String?)
  /// Layers are ranked by what the model loses without each, which takes as much work as calibration on `likeRows`.
  case scoringLayers(Int, rows: Int, of: Int, tokens: Int, likeRows: Int, WalkSummary)
  case calibrating(rows: Int, tokens: Int, dtype: String, WalkSummary)
  case refitting(rows: Int, tokens: Int, walks: Double)
  case refitted(RefitCounts)
  case forecasting(cuts: Int, rows: Int)
  case refittingCandidate(ExportConfig, of: Int)
  /// Where a walk goes on that was interrupted, and what prevents that.
  case resuming(String)
  /// Which type is quick, or why this one is used.
  case computeType(Message)
  /// Rows are packed without the BOS token that the model's texts began with.
  case noBOS(family: String)
  /// 1-based numbers, best first.
  case layerRanking([Int])
  case candidatesKept(Int, of: Int, directory: String?)
  case walk(candidates: Int, WalkSummary)
  case raceBegins(items: Int, unit: String, WalkSummary)
  case raced(asked: Int, unit: String, out: Int, left: Int)
  /// A layer is kept although others rank higher.
  case indispensableLayer(String)
  /// What layers by hand mean for a search.
  case layersByHand(Message)
  /// 1-based numbers of layers that are kept although others rank higher.
  case keptByHand([Int])
  /// Layers need no ranking: all are kept, or it is said which of them go.
  case layerScoreUnused
  /// Nothing is rotated, since hidden_size keeps its size.
  case basisUnused
  /// The directions that are kept, and their share of the residual stream.
  case rotated(kept: Int, of: Int, share: Double)
  /// Entries of these files that name Python code are left out.
  case codeLeftOut(files: [String], isNative: Bool)
  case measuring(String, WalkSummary)
  /// Answers that a run which was ended has left.
  case answersKept(Int, of: Int, file: String)
  case written(output: String, params: Int, original: Int, ExportConfig)
  /// What the steps since the last such note came to.
  case learned(StepOutcome, of: Int, tokensPerSecond: Double)
  case validated(step: Int, LossSums)
  case trainingPaused(step: Int, of: Int)
  /// What of a training is on disk.
  case trainingSpills(TrainingMemory.Spill, directory: String)
  case stageBegins(Int, of: Int, Constraints)
  /// KL on text that is held back, before the stage's learning and after it.
  case stageEnds(Int, of: Int, params: Int, (before: Double, after: Double)?)
  case runOffBegins(candidates: Int, tokens: Int, heldBack: Int)
  case runOff(ExportConfig, SearchOutcome.Candidate.RunOff)

  public var message: Message {
    switch self {
    case .checkpoint(let text), .resuming(let text), .indispensableLayer(let text), .hub(let text): Message(text)
    case .cachedModel(let name, let revision, let commit):
      "\(name): \(revision) as the cache has it (\(commit.prefix(7))); `coppice download \(name)` looks for a newer one"
    case .computeType(let message), .crew(let message), .layersByHand(let message): message
    case .finishedAlready(let output): "\(output) holds the result of this command already; nothing to do"
    case .pointsRefused(let count, let size, let rule): "\(count) of \(size) points are left out: \(rule)"
    case .byHand(let config, let params): "\(config): \(Format.count(params)) parameters; nothing is scored"
    case .importanceKept(let directory):
      "importance scores are kept in \(directory ?? "memory"): no calibration needed"
    case .layerScoresKept(let directory):
      "scores of layers are kept in \(directory ?? "memory"): no need to leave each out again"
    case .scoringLayers(let layers, let rows, let all, let tokens, let likeRows, let walk):
      """
      ranking \(layers) layers by the divergence of the model without each, on the first \(rows) of \(all) rows, \
      \(Format.grouped(tokens)) tokens (\(parameter: "layer_score_rows")): about as much work as calibration on \
      \(likeRows); \(walk)
      """
    case .calibrating(let rows, let tokens, let dtype, let walk):
      "calibrating on \(rows) rows, \(Format.grouped(tokens)) tokens, in \(dtype); \(walk)"
    case .refitting(let rows, let tokens, let walks):
      "refitting on \(rows) rows, \(Format.grouped(tokens)) tokens: about as much work as calibration on \(Int(Double(rows) * walks))"

    case .forecasting(let cuts, let rows):
      "forecasting divergence: \(cuts) cuts, each alone, on \(rows) rows of text"
    case .refittingCandidate(let config, let count): "of the \(count) best candidates: \(config)"
    case .refitted(let counts):
      """
      \(counts.refitted) of \(counts.all) linear maps are better for it on rows that were held back; \
      the others are as they were sliced\(counts.starved > 0 ? ", \(counts.starved) of routed experts with too few tokens or too little memory among them" : "")
      """
    case .noBOS(let family):
      """
      \(family) models were trained with a BOS token before every text; rows are packed without one, as the reference \
      does: \(parameter: "calib_bos") adds it
      """
    case .layerRanking(let layers):
      "layers by importance, best first: \(layers.map(String.init).joined(separator: ", "))"
    case .candidatesKept(let count, let all, let directory):
      "\(count) of \(all) candidates are scored already (\(directory ?? "kept"))"
    case .walk(let candidates, let walk): "\(candidates) candidates in a walk: \(walk)"
    case .raceBegins(let items, let unit, let walk): "\(Format.grouped(items)) \(unit) first: \(walk)"
    case .raced(let asked, let unit, let out, let left):
      "after \(Format.grouped(asked)) \(unit): \(out) out, \(left) left"
    case .keptByHand(let layers):
      """
      kept although others rank higher, since \(parameter: "keep_layers") names them: \
      \(layers.map(String.init).joined(separator: ", "))
      """
    case .layerScoreUnused:
      "\(parameter: "layer_score") kl changes nothing here: which layers are kept does not depend on scores"
    case .basisUnused:
      "\(parameter: "basis") rotated changes nothing here: hidden_size keeps its size"
    case .rotated(let kept, let all, let share):
      "the residual stream is rotated: \(kept) of \(all) directions hold \(Format.percent(share, places: 2)) of it"
    case .codeLeftOut(let files, let isNative):
      """
      \(files.joined(separator: ", ")): left out auto_map, the Python code it names stays with the source; \
      \(isNative
        ? "the result loads with transformers' own classes, with and without trust_remote_code"
        : "transformers has no classes for this model: copy auto_map and the .py files from the source to load the result")
      """
    case .measuring(let name, let walk): "\(name): \(walk)"
    case .answersKept(let count, let all, let file): "\(count) of \(all) conversations are there already (\(file))"
    case .learned(let step, let all, let speed):
      Message(
        "step \(step.step) of \(all): KL \(Format.decimal(step.losses.divergence, places: 4)), loss \(Format.decimal(step.losses.crossEntropy, places: 4)), lr \(String(format: "%.3g", step.rate)), gradient \(Format.decimal(step.gradientNorm, places: 3)), \(Format.grouped(Int(speed))) tokens/s"
      )
    case .validated(let step, let losses):
      Message(
        "after step \(step), on text that is held back: KL \(Format.decimal(losses.divergence, places: 4)), loss \(Format.decimal(losses.crossEntropy, places: 4))"
      )
    case .runOffBegins(let candidates, let tokens, let rows):
      Message(
        "run-off: the \(candidates) best candidates learn from the original, the better ones \(Format.count(tokens)) tokens; judged on \(rows) rows that are held back"
      )
    case .runOff(let config, let found):
      Message(
        "\(config): KL \(Format.decimal(found.before, places: 4)), after \(Format.count(found.tokens)) tokens \(Format.decimal(found.after, places: 4))"
      )
    case .stageBegins(let stage, let all, let limits): Message("stage \(stage) of \(all)\(limits.words)")
    case .stageEnds(let stage, let all, let params, let found):
      Message(
        "stage \(stage) of \(all) is over: \(Format.count(params)) parameters"
          + (found.map {
            "; KL on text that is held back \(Format.decimal($0.before, places: 4)), after learning \(Format.decimal($0.after, places: 4))"
          } ?? ""))
    case .trainingSpills(let spill, let directory):
      """
      memory is short: \(spill.words) are read from disk as they are needed, and written back (a file without a name in \
      \(directory))
      """
    case .trainingPaused(let step, let all):
      "ended after step \(step) of \(all), as asked for; the same command goes on from there"
    case .written(let output, let params, let original, let config):
      Message(
        "\(output): \(Format.count(params)) of \(Format.count(original)) parameters, "
          + config.entries.map { "\($0.hyperparameter.rawValue) \($0.value)" }.joined(separator: ", "))
    }
  }
}

/// Warnings of a run.
public enum RunWarning: Sendable {
  /// Files of the checkpoint that do not fit together.
  case checkpoint(String)
  /// A shape that is slow or refused elsewhere.
  case architecture(String)
  /// Files beside the weights that cannot be taken along as they are.
  case companions(String)
  case unknownHyperparameter(String, family: String)
  /// Fewer rows than were asked for, rows of data without text.
  case data(Message)
  /// Rows that are longer than the model was made for.
  case rowsTooLong(tokens: Int, limit: Int)
  /// Prompts that are longer than the model was made for.
  case promptsTooLong(tokens: Int, limit: Int)
  case scoresNotKept(reason: String)
  case saveFailed(reason: String)
  /// The reference model has another tokenizer.
  case otherTokenizer(reference: String, model: String)
  /// A validation is asked for, and there is no text for it.
  case nothingToValidateOn
  /// Layers are unlike, and the request does not say which of them are kept.
  case layersUnlike

  public var message: Message {
    switch self {
    case .checkpoint(let text), .architecture(let text), .companions(let text): Message(text)
    case .data(let message): message
    case .unknownHyperparameter(let name, let family):
      "\(parameter: "hparams_to_skip"): a \(family) model has no \(name)"
    case .rowsTooLong(let tokens, let limit):
      Message(RunWarning.tooLong("rows of \(tokens) tokens", limit: limit))
        + "; choose \(parameter: "seq_length") \(limit)"
    case .promptsTooLong(let tokens, let limit):
      Message(RunWarning.tooLong("prompts of up to \(tokens) tokens", limit: limit))
    case .scoresNotKept(let reason):
      """
      scores will not be kept for resuming: \(reason). \(parameter: "prune_intermediate_ckpt") names another place
      """
    case .saveFailed(let reason): "scores could not be kept for resuming: \(reason)"
    case .otherTokenizer(let reference, let model):
      "\(reference) has another tokenizer.json than \(model): are its tokens the same?"
    case .nothingToValidateOn:
      """
      nothing is held back to validate on: more documents, or another \(parameter: "split"), would give some
      """
    case .layersUnlike:
      """
      the layers of this model are unlike: counts are provisional until \(parameter: "layer_ranking") says which of them \
      stay
      """
    }
  }

  /// - Parameter what: the sequences that are longer than `limit`.
  package static func tooLong(_ what: String, limit: Int) -> String {
    "\(what): beyond max_position_embeddings (\(limit)) the model was not made for its positions"
  }
}

extension Constraints {
  /// A stage's targets, after a colon.
  fileprivate var words: String {
    let parts = [
      params.map { "\(Format.count(Int($0))) parameters" },
      activeParams.map { "\(Format.count(Int($0))) active parameters" },
      memoryMB.map { "\(Format.decimal($0, places: 0)) MiB" },
    ].compactMap { $0 }
    return parts.isEmpty ? "" : ": at most " + parts.joined(separator: ", ")
  }
}
