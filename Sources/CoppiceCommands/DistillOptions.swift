import ArgumentParser
import Jobs

/// What is learned from.
struct DistillationData: ParsableArguments {
  @Option(
    name: .flag("data_paths"), parsing: .upToNextOption,
    help: ArgumentHelp(
      "Text: files, directories, registered names, OWNER/NAME of the hub, or prefixes of indexed datasets (.bin and .idx); with weights or without: 1.0 a 2.0 b.",
      valueName: "path"), completion: .file())
  var paths: [String] = []

  @Option(
    name: .flag("data_path_to_cache"), parsing: .unconditional,
    help: ArgumentHelp("Where text is kept as token numbers (default: tokens in --output_dir).", valueName: "path"),
    completion: .directory)
  var cache: String?

  @Option(
    name: .flag("split"),
    help: ArgumentHelp(
      "Shares of the documents to learn from, to validate on and to leave alone.", valueName: "shares"))
  var split = "99,1,0"

  @Flag(name: .flag("sft"), help: "Learn answers to questions: --sft_dataset_root.")
  var answers = false

  @Option(
    name: .flag("sft_dataset_root"), parsing: .unconditional,
    help: ArgumentHelp(
      "A directory with training.jsonl and validation.jsonl of {\"input\": …, \"output\": …}.", valueName: "path"),
    completion: .directory)
  var root: String?

  @Flag(name: .flag("use_mock_data"), help: "Random tokens, to see how fast it goes.")
  var mock = false

  @Flag(
    name: .flag("pack_sequences"),
    help:
      "Keep documents apart that share a row: tokens see their own alone, from position 0 on. With --sft a row holds as many pairs as --seq_length has room for."
  )
  var packs = false

  mutating func validate() throws {
    guard answers == (root != nil) else {
      throw ValidationError("--sft and --sft_dataset_root belong together: give both or neither")
    }
    _ = try shares()
  }

  private func shares() throws -> [Double] {
    let shares = split.split(separator: ",", omittingEmptySubsequences: false).map { Double($0) }
    guard shares.count == 3, !shares.contains(nil) else {
      throw ValidationError("--split should be three numbers such as 99,1,0; found \(split)")
    }
    return shares.compactMap { $0 }
  }

  func apply(to request: inout DistillRequest) throws {
    (request.data, request.tokenCache, request.split) = (paths, cache, try shares())
    (request.answers, request.usesMockData, request.packsSequences) = (root, mock, packs)
  }
}

/// How it is learned.
struct TrainingOptions: ParsableArguments {
  @Option(name: .flag("train_iters"), help: ArgumentHelp("Steps.", valueName: "n"))
  var steps: Int

  @Option(name: .flag("seq_length"), help: ArgumentHelp("Tokens of a row.", valueName: "tokens"))
  var seqLength = DistillRequest.defaults.seqLength

  @Option(name: .flag("mbs"), help: ArgumentHelp("Rows that go through the models together.", valueName: "n"))
  var microBatch = DistillRequest.defaults.microBatch

  @Option(name: .flag("gbs"), help: ArgumentHelp("Rows of a step.", valueName: "n"))
  var globalBatch = DistillRequest.defaults.globalBatch

  @Option(name: .flag("lr"), help: ArgumentHelp("The highest learning rate.", valueName: "rate"))
  var rate = DistillRequest.defaults.rate

  @Option(name: .flag("min_lr"), help: ArgumentHelp("The learning rate at the end.", valueName: "rate"))
  var leastRate = DistillRequest.defaults.leastRate

  @Option(
    name: .flag("lr_warmup_iters"), help: ArgumentHelp("Steps in which the learning rate rises.", valueName: "n"))
  var warmup = DistillRequest.defaults.warmup

  @Flag(name: .flag("no_skip_lm_loss"), help: "Learn the text's next token as well.")
  var learnsText = false

  @Option(
    name: .flag("kd_loss_scale"),
    help: ArgumentHelp(
      "The weight of the divergence; with --no_skip_lm_loss beside the text's loss, and 0 for that alone.",
      valueName: "x"))
  var divergenceScale = DistillRequest.defaults.divergenceScale

  @Option(name: .flag("logit_kl_temperature"), help: ArgumentHelp("What logits are divided by.", valueName: "t"))
  var temperature = DistillRequest.defaults.temperature

  @Option(
    name: .flag("logit_kl_topk"),
    help: ArgumentHelp(
      "The divergence of the teacher's likeliest tokens alone, as if there were no others (default: of all).",
      valueName: "k"))
  var topK: Int?

  @Option(
    name: .flag("intermediate_layer_pairs"), parsing: .upToNextOption,
    help: ArgumentHelp(
      "Layers whose results should be like the teacher's, too: of the student and of the teacher, from 1 on, such as 12:24, 12:24:cosine or 12:24:mse.",
      valueName: "pair"))
  var layerPairs: [String] = []

  @Option(name: .flag("seed"), help: ArgumentHelp("Of the order of the data.", valueName: "n"))
  var seed = DistillRequest.defaults.seed

  func apply(to request: inout DistillRequest) throws {
    (request.seqLength, request.microBatch, request.globalBatch) = (seqLength, microBatch, globalBatch)
    (request.rate, request.leastRate, request.warmup) = (rate, leastRate, warmup)
    (request.learnsText, request.divergenceScale, request.temperature) = (learnsText, divergenceScale, temperature)
    (request.topK, request.seed) = (topK, seed)
    try usage { request.layerPairs = try DistillRequest.layerPairs(layerPairs) }
  }
}

/// When it is looked at, kept and ended.
struct CourseOptions: ParsableArguments {
  @Option(name: .flag("eval_interval"), help: ArgumentHelp("Steps between validations.", valueName: "n"))
  var evaluationInterval = DistillRequest.defaults.evaluationInterval

  @Option(name: .flag("eval_iters"), help: ArgumentHelp("Batches of a validation; 0: none.", valueName: "n"))
  var evaluationSteps = DistillRequest.defaults.evaluationSteps

  @Option(name: .flag("log_interval"), help: ArgumentHelp("Steps between lines of metrics.", valueName: "n"))
  var logInterval = DistillRequest.defaults.logInterval

  @Option(
    name: .flag("save_interval"),
    help: ArgumentHelp("Steps between saved states (default: --eval_interval).", valueName: "n"))
  var saveInterval: Int?

  @Option(
    name: .flag("checkpoint_keep_last"), help: ArgumentHelp("Saved states that are kept; -1: all.", valueName: "n"))
  var keptStates = DistillRequest.defaults.keptStates

  @Option(name: .flag("exit_interval"), help: ArgumentHelp("End at a multiple of so many steps.", valueName: "n"))
  var exitInterval: Int?

  @Option(name: .flag("exit_duration_in_mins"), help: ArgumentHelp("End after so many minutes.", valueName: "minutes"))
  var exitMinutes: Double?

  @Flag(name: .flag("validate_only"), help: "Measure the loss on text that is held back, and learn nothing.")
  var validatesOnly = false

  @Flag(name: .flag("fresh"), help: "Begin again where an earlier run was ended.")
  var fresh = false

  func apply(to request: inout DistillRequest) {
    (request.evaluationInterval, request.evaluationSteps) = (evaluationInterval, evaluationSteps)
    (request.logInterval, request.saveInterval, request.keptStates) = (logInterval, saveInterval, keptStates)
    (request.exitInterval, request.exitMinutes) = (exitInterval, exitMinutes)
    (request.validatesOnly, request.fresh) = (validatesOnly, fresh)
  }
}

/// How many processes learn together.
struct ReplicaOptions: ParsableArguments {
  @Option(
    name: .flag("nproc"),
    help: ArgumentHelp(
      """
      Processes: stages times replicas, which share the rows of a step and the optimizer's state (default: --pp_size, or as \
      torchrun, mpirun or Slurm start them).
      """,
      valueName: "n"))
  var processes: Int?

  @Option(
    name: .flag("pp_size"),
    help: ArgumentHelp("Pipeline stages, each with layers of its own in a process of its own.", valueName: "n"))
  var stages = 1

  mutating func validate() throws {
    if let processes { try atLeast(1, processes, flag: "--nproc") }
    try atLeast(1, stages, flag: "--pp_size")
  }
}

/// Flags of the reference that have another bearing here, or none.
struct MegatronOptions: ParsableArguments {
  @Option(
    name: .flag("recompute_granularity"),
    help: ArgumentHelp(
      "full or selective: compute activations within layers again on the way back, which saves memory; none: keep them (default: by the memory there is).",
      valueName: "kind"))
  var granularity: String?

  @Option(name: .flag("recompute_method"), help: ArgumentHelp("Accepted, no effect.", valueName: "method"))
  var method: String?

  @Option(name: .flag("recompute_num_layers"), help: ArgumentHelp("Accepted, no effect.", valueName: "n"))
  var layers: Int?

  @Option(
    name: .flag("recompute_modules"), parsing: .upToNextOption,
    help: ArgumentHelp("Accepted, no effect.", valueName: "module"))
  var modules: [String] = []

  @Option(
    name: .flag("tp_size"),
    help: ArgumentHelp("Accepted, no effect: a process computes its layers alone.", valueName: "n"))
  var tensor = 1

  @Option(name: .flag("cp_size"), help: ArgumentHelp("As tp_size.", valueName: "n"))
  var context = 1

  @Option(name: .flag("ep_size"), help: ArgumentHelp("As tp_size.", valueName: "n"))
  var experts = 1

  @Option(name: .flag("wandb_project"), help: ArgumentHelp("Accepted: metrics are files here.", valueName: "name"))
  var project: String?

  @Option(name: .flag("wandb_entity"), help: ArgumentHelp("As wandb_project.", valueName: "name"))
  var entity: String?

  @Option(name: .flag("wandb_exp_name"), help: ArgumentHelp("As wandb_project.", valueName: "name"))
  var experiment: String?

  mutating func validate() throws { _ = try recomputes() }

  /// - Throws: `ValidationError` for another word than those that are known.
  func recomputes() throws -> Bool? {
    switch granularity {
    case nil: return nil
    case "full", "selective": return true
    case "none": return false
    case let other?:
      throw ValidationError("--recompute_granularity can be full, selective or none; found \(other)")
    }
  }

  /// What there is to say about flags without a bearing.
  ///
  /// - Parameter metrics: the file that has the numbers.
  func notes(metrics: String) -> [String] {
    var notes: [String] = []
    let sizes = [("tp_size", tensor), ("cp_size", context), ("ep_size", experts)]
    let used = sizes.filter { $0.1 != 1 }.map { "--\($0.0)" }
    if !used.isEmpty {
      notes.append("\(used.joined(separator: ", ")): no bearing here, a process computes its layers alone")
    }
    if method != nil || layers != nil || !modules.isEmpty {
      notes.append("--recompute_method, _num_layers and _modules have no bearing: layers are computed again one by one")
    }
    if [project, entity, experiment].contains(where: { $0 != nil }) {
      notes.append("--wandb_*: nothing is sent anywhere; the metrics lie in \(metrics)")
    }
    return notes
  }
}
