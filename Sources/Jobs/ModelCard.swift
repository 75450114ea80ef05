import Checkpoint
import Formatting
import Foundation
import JSON
import Minitron
import Models
import Recovery

/// What a result is and how it came to be, for its `README.md` and `report.md`. Nothing in it depends on when or where
/// the program ran: the same run gives the same bytes.
struct ModelCard {
  /// How the winner did.
  struct Score {
    let function: String
    let value: String
    let error: String
    /// What it was measured on.
    let over: String
  }

  /// The result's name: the last part of its path.
  let name: String
  let source: SourceName
  let metadata: CardMetadata
  let model: ModelDescription
  let config: ExportConfig
  /// Numbers of the layers that are kept, from 0.
  let layers: [Int]
  let seqLength: Int
  /// With caches for one sequence of `seqLength` tokens.
  let original: ModelCounts, own: ModelCounts
  /// Settings and their values: what importance was measured on; empty when nothing was measured.
  let calibration: [(name: String, value: String)]
  /// Nil by hand.
  let score: Score?
  /// The command line that makes it again; nil for the request in JSON.
  let command: String?
  let request: String
  let hasSourceCard: Bool
  /// Whether hidden_size was cut in a rotated basis.
  let isRotated: Bool
  /// How many linear maps were refitted; nil where none were to be.
  let refit: RefitCounts?

  // MARK: README.md

  var readMe: String {
    [
      metadata.frontMatter(of: source, tags: ["pruned", "minitron", "coppice"]), "# \(Markdown.escaped(name))\n",
      introduction, "## What was cut\n", cuts, layersKept,
      calibrationSection, scoreSection, command == nil ? "## The request\n" : "## The command\n", commandSection,
      "## How to go on\n", continuation,
    ].filter { !$0.isEmpty }.joined(separator: "\n")
  }

  private var introduction: String {
    let card = hasSourceCard ? " The original's card is in [README.source.md](README.source.md)." : ""
    return """
      This is \(source.linked), pruned with [NVIDIA's Minitron](https://arxiv.org/abs/2407.14679) by Coppice \(coppiceVersion): \
      \(Format.count(own.params)) of \(Format.count(original.params)) parameters.\
      \(card)

      It was not trained after pruning. What was lost is largely recovered by distillation from the original, for which
      see [How to go on](#how-to-go-on).

      """
  }

  /// The table of what was cut: every hyperparameter that a search prunes or that was named, and what they amount to.
  var cuts: String {
    // What is pruned by hand alone is there when it was.
    let shown = model.prunable.filter { $0.facts.isSearched || config[$0] != nil }
    var rows = shown.map { hyperparameter in
      let value = model.value(of: hyperparameter)
      let now = hyperparameter == .numLayers ? layers.count : config[hyperparameter] ?? value
      return [hyperparameter.rawValue, "\(value)", "\(now)"]
    }
    rows.append(["parameters", Format.grouped(original.params), Format.grouped(own.params)])
    if original.activeParams != original.params {
      rows.append(["active parameters", Format.grouped(original.activeParams), Format.grouped(own.activeParams)])
    }
    rows.append(
      ["MiB in 16 bits, with caches for one sequence of \(Format.grouped(seqLength)) tokens"]
        + [original, own].map { Format.decimal($0.memoryMB, places: 1) })
    return Markdown.table(["", "original", "pruned"], rows: rows) + rotation + refitting
  }

  /// What hidden_size counts, where that is not channels.
  private var rotation: String {
    guard isRotated, let kept = config[.hiddenSize], kept != model.sizes[.hidden] else { return "" }
    return """

      The residual stream was rotated before it was cut: norm weights are folded into the projections that read them, and \
      hidden_size counts the directions that hold most of the stream in place of channels.

      """
  }

  /// What became of the weights that are kept.
  private var refitting: String {
    guard let refit, refit.refitted > 0 else { return "" }
    return """

      Of the linear maps that are kept, \(refit.refitted) were solved anew by least squares on calibration text, so that from what \
      the pruned model gives them they make what the original makes there.\
      \(score == nil ? "" : " The score below was measured before that.")

      """
  }

  var layersKept: String {
    if layers.count == model.layers.count { return "All \(layers.count) layers are kept.\n" }
    let numbers = layers.map { String($0 + 1) }.joined(separator: ", ")
    return "Layers kept of \(model.layers.count), counted from 1: \(numbers).\n"
  }

  var calibrationSection: String {
    if calibration.isEmpty { return "" }
    let rows = calibration.map { [$0.name, Markdown.escaped($0.value)] }
    return "## Calibration\n\n" + Markdown.table(["", ""], rows: rows, left: 2)
  }

  private var scoreSection: String {
    guard let score else { return "" }
    return """
      ## Score

      \(Markdown.table(
        ["", "score", "standard error", "over"],
        rows: [[Markdown.escaped(score.function), score.value, score.error, Markdown.escaped(score.over)]]))
      The candidates it was chosen from are in [report.md](report.md).

      """
  }

  private var commandSection: String {
    (command.map { Markdown.fenced($0, language: "sh") } ?? Markdown.fenced(request, language: "json"))
      + "\nAbsolute paths are shortened to their last part. `coppice.json` has hashes of the weights, the tokenizer and the\n"
      + "data, and the settings.\n"
  }

  private var continuation: String {
    let path = Shell.quoted(name.hasPrefix("-") ? "./" + name : name)
    let python = """
      from transformers import AutoModelForCausalLM, AutoTokenizer

      tokenizer = AutoTokenizer.from_pretrained(\(pythonName))
      model = AutoModelForCausalLM.from_pretrained(\(pythonName), dtype="auto")
      """
    let distillation = """
      torchrun --nproc_per_node 8 examples/megatron_bridge/distill.py \\
        --teacher_hf_path \(Shell.quoted(source.name)) --student_hf_path \(path) \\
        --data_paths 1.0 TOKENIZED_DATA --seq_length 8192 --mbs 1 --gbs 768 --train_iters 15000 \\
        --lr 1e-4 --min_lr 1e-5 --output_dir \(Shell.quoted(name + "-distilled"))
      """
    let code = """
      `transformers` has no classes for this model: copy the `.py` files and the `auto_map` of `config.json` from the original first, and
      load with `trust_remote_code=True`.


      """
    return """
      \(model.isNative ? "" : code)With transformers:

      \(Markdown.fenced(python, language: "python"))
      With vLLM:

      \(Markdown.fenced("vllm serve \(path)", language: "sh"))
      To GGUF, with llama.cpp's converter:

      \(Markdown.fenced("python convert_hf_to_gguf.py \(path) --outtype auto", language: "sh"))
      Distillation from the original, with NVIDIA's Model-Optimizer:

      \(Markdown.fenced(distillation, language: "sh"))
      """
  }

  /// Python reads a JSON string as the same text.
  private var pythonName: String { JSON.text(name).serialized() }
}

extension ModelCard {
  init(
    _ job: PruneJob, _ model: SourceModel, _ config: ExportConfig, _ selection: Selection, _ inputs: PruneInputs,
    _ outcome: PruneOutcome
  ) throws {
    let directory = model.checkpoint.directory
    let (request, metadata) = (job.request, CardMetadata(directory: directory))
    let source = SourceName(directory: directory, config: model.description.config, metadata: metadata)
    var calibration: [(name: String, value: String)] = []
    if inputs.isCalibrated {
      calibration = [
        ("data", request.calibrationNames.map(Self.shown).joined(separator: ", ")),
        ("rows", Format.grouped(request.calibrationRows)),
        ("tokens of a row", Format.grouped(request.search.seqLength)),
        ("rows of a micro-batch", "\(request.batchSize)"), ("computed in", "\(inputs.dtype)"),
      ]
      if inputs.layers.score == .kl {
        calibration.append(
          ("layers ranked by", "the divergence without each (kl), on \(Format.grouped(request.rowsToScoreLayers)) rows")
        )
      }
      if request.calibration.count > 1 { calibration.append(("seed", "\(request.seed)")) }
    }
    let score = outcome.search?.scoring.flatMap { scoring in
      outcome.score.map { score in
        Score(
          function: scoring.function, value: scoring.text(score.mean), error: scoring.text(score.standardError),
          over: "\(Format.grouped(score.items)) \(scoring.unit)")
      }
    }
    self.init(
      name: request.output.split(separator: "/").last.map(String.init) ?? request.output, source: source,
      metadata: metadata, model: model.description, config: config, layers: selection.layers,
      seqLength: request.search.seqLength, original: outcome.original, own: outcome.pruned, calibration: calibration,
      score: score, command: try job.command?(source.name), request: try Self.shown(request, model: source.name),
      hasSourceCard: inputs.companions.files.contains { $0.name == "README.source.md" },
      isRotated: inputs.basis == .rotated, refit: outcome.refit)
  }

  /// No path of this machine.
  private static func shown(_ path: String) -> String {
    path.hasPrefix("/") ? path.split(separator: "/").last.map(String.init) ?? path : path
  }

  /// The request in JSON, without what only says where scores are kept.
  private static func shown(_ request: PruneRequest, model: String) throws -> String {
    var request = request
    request.model = model
    request.output = shown(request.output)
    request.calibration = request.calibration.map { shown($0) }
    request.evaluation.questions = request.evaluation.questions.map { shown($0) }
    request.evaluation.datasets = request.evaluation.datasets.map { shown($0) }
    (request.keptScores, request.fresh) = (nil, false)
    // However many processes do it, the result is the same.
    request.compute.divide(stages: 1)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return String(decoding: try encoder.encode(request), as: UTF8.self)
  }
}
