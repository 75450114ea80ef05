import Datasets
import Evaluation
import Execution
import Minitron
import Models
import Report
import Tokenization

/// The questions or rows that candidates are scored on, loaded before any work.
struct ScoringData {
  let function: ScoreFunction
  let questions: MultipleChoice?
  let rows: LanguageModeling?
  /// What scores depend on besides model and calibration.
  let fields: [(String, String)]

  /// - Parameter calibration: the text that rows follow where none other is named.
  /// - Throws: what is wrong with the questions or the text.
  init(
    _ options: PruneOptions, calibration: CalibrationData?, tokenizer: Tokenizer, encoder: CalibrationEncoder,
    remarks: RowRemarks, console: Console
  ) throws {
    guard let function = ScoreFunction(parsing: options.scoreFunction) else {
      throw ModelError("--prune_score_func: \"\(options.scoreFunction)\" is not known")
    }
    self.function = function
    switch function {
    case .mmlu(let percent, _):
      let shots = options.evaluation.fewShots
      guard let path = options.evaluation.mmlu else {
        throw ModelError(
          "scoring with \(options.scoreFunction) wants questions: give --mmlu_dataset a local copy of cais/mmlu "
            + "(directory, .jsonl or .parquet), or choose --prune_score_func neg_loss")
      }
      let all = try MMLU.load(path: path, split: "test")
      let examples = shots > 0 ? try MMLU.load(path: path, split: "dev") : []
      let questions = try MultipleChoice(
        questions: MMLU.sample(all, percent: percent), examples: examples, fewShots: shots, tokenizer: tokenizer)
      (self.questions, rows) = (questions, nil)
      // The batch size is a hint: it is not part of what made a score. The prompts are, token by token.
      let tokens = questions.prompts.map { "\($0.tokens) \($0.answer)" }.joined(separator: "\n")
      fields = [("score_function", "mmlu"), ("prompts", Fingerprint([("tokens", tokens)]).key)]
    case .negLoss, .negKL:
      let own = options.evaluation.evalDatasets
      guard let source = own.isEmpty ? calibration : try CalibrationData(sources: own) else {
        throw PruneInputs.noCalibrationData
      }
      let packed = try source.pack(
        encoder: encoder, seqLength: options.search.seqLength,
        count: options.evaluation.evalSamples, skippingRows: own.isEmpty ? options.calibrationRows : 0,
        seed: options.seed)
      for warning in packed.warnings { console.warn(warning) }
      remarks.say(about: packed.rows)
      (questions, rows) = (nil, try LanguageModeling(rows: packed.rows))
      fields = [
        ("score_function", function.description),
        ("eval_data", own.isEmpty ? "calibration" : try source.fingerprint()),
        ("eval_num_samples", "\(options.evaluation.evalSamples)"),
      ]
    }
  }

  private var batches: [TokenBatch] { rows?.batches ?? questions.map { [TokenBatch($0.prompts.map(\.tokens))] } ?? [] }

  /// Tokens one candidate is scored on.
  var tokenCount: Int { batches.reduce(0) { $0 + $1.tokenCount } }

  /// Questions or rows.
  var itemCount: Int { questions?.prompts.count ?? batches.count }
}
