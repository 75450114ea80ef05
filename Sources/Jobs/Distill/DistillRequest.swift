import Files
import Messages
public import Training

/// All that is asked for when a model is to learn from another. Defaults are those of the command line.
public struct DistillRequest: Sendable, Equatable {
  /// The checkpoint that learns: a local directory, or the hub's name of a model.
  public var student: String
  /// The checkpoint that it learns from.
  public var teacher: String
  /// Where states, metrics and, unless `exported` says otherwise, the result go.
  public var output: String
  /// Where the trained model goes; nil: `hf` in the output.
  public var exported: String?

  /// Text to learn from: names of data, or prefixes of indexed datasets, a weight before each or before none.
  public var data: [String] = []
  /// Where text is kept as token numbers; nil: `tokens` in the output.
  public var tokenCache: String?
  /// Shares of the documents to learn from, to validate on, and to leave alone.
  public var split = [99.0, 1, 0]
  /// Questions and answers, `training.jsonl` and `validation.jsonl` in this directory, in the place of text.
  public var answers: String?
  /// Random tokens in the place of data, to see how fast it goes.
  public var usesMockData = false
  /// Whether documents, or questions with their answers, that share a row see nothing of one another.
  public var packsSequences = false

  /// Tokens of a row.
  public var seqLength = 4096
  /// Rows that go through the model together, and rows of a step.
  public var microBatch = 1
  public var globalBatch = 768
  /// Steps in all.
  public var steps: Int
  public var rate = 1e-4
  public var leastRate = 1e-5
  public var warmup = 50
  public var seed: UInt64 = 1234

  /// Steps between validations, and batches of each; 0: none.
  public var evaluationInterval = 100
  public var evaluationSteps = 32
  /// Steps between lines of metrics.
  public var logInterval = 10
  /// Steps between saved states; nil: as between validations.
  public var saveInterval: Int?
  /// States that are kept; -1: all.
  public var keptStates = 5
  /// Ends at a multiple of so many steps, or after so many minutes, with the state saved.
  public var exitInterval: Int?
  public var exitMinutes: Double?
  /// Validates what is there, and learns nothing.
  public var validatesOnly = false
  /// States of an earlier run are not used.
  public var fresh = false

  /// Whether cross-entropy of the text is a part of the loss, and how large the divergence is beside it then.
  public var learnsText = false
  public var divergenceScale = 1.0
  public var temperature = 1.0
  /// Tokens that the divergence is taken over: those that the teacher finds likeliest; nil: all.
  public var topK: Int?
  /// Layers whose results are compared with the teacher's.
  public var layerPairs: [LayerPair] = []
  /// Where the teacher's states are kept, so that it computes each row once; nil: nowhere.
  public var teacherCache: String?
  public var teacherPrecision = TeacherCache.Precision.computed
  /// The likeliest tokens that are kept there of each token that is learned, with one probability of all others, in place of the
  /// teacher's last states; nil: these.
  public var teacherTopK: Int?
  /// Whether what lies within layers is computed again on the way back; nil: where memory is short.
  public var recomputes: Bool?
  public var compute = ComputeParameters()

  public init(student: String, teacher: String, output: String, steps: Int) {
    (self.student, self.teacher, self.output, self.steps) = (student, teacher, output, steps)
  }

  /// What every field is unless somebody sets it.
  package static let defaults = DistillRequest(student: "", teacher: "", output: "", steps: 1)

  /// - Throws: `RequestError` for values out of range.
  public func validate() throws {
    for (value, name) in [(student, "student_hf_path"), (teacher, "teacher_hf_path"), (output, "output_dir")]
    where value.isEmpty { throw RequestError("\(parameter: name) is empty") }
    let sources = [!data.isEmpty, answers != nil, usesMockData].filter { $0 }.count
    guard sources == 1 else {
      throw RequestError(
        """
        \(sources == 0 ? "there is nothing to learn from" : "there is more than one kind of data"): give \
        \(parameter: "data_paths"), \(parameter: "sft_dataset_root") or \(parameter: "use_mock_data")
        """)
    }
    _ = try Self.weighted(data)
    if usesMockData, packsSequences {
      throw RequestError(
        "\(parameter: "pack_sequences") has no bearing on \(parameter: "use_mock_data"), where each row is a sequence")
    }
    guard split.count == 3, split.allSatisfy({ $0 >= 0 && $0.isFinite }), split.reduce(0, +) > 0, split[0] > 0 else {
      throw RequestError(
        "\(parameter: "split") should be three shares, of which the first is above zero, such as 99,1,0")
    }
    try atLeast(1, seqLength, "seq_length")
    try atLeast(1, microBatch, "mbs")
    try atLeast(1, globalBatch, "gbs")
    guard globalBatch % microBatch == 0 else {
      throw RequestError(
        "\(parameter: "gbs") \(globalBatch) should be a multiple of \(parameter: "mbs") \(microBatch)")
    }
    try atLeast(1, steps, "train_iters")
    for (value, most, field) in [
      (seqLength, 1 << 24, "seq_length"), (globalBatch, 1 << 24, "gbs"), (steps, 1 << 31, "train_iters"),
    ] where value > most {
      throw RequestError("\(parameter: field) should be at most \(most), found \(value)")
    }
    guard Int32(exactly: steps.multipliedReportingOverflow(by: globalBatch).partialValue) != nil else {
      throw RequestError(
        "\(parameter: "train_iters") × \(parameter: "gbs") are \(steps) × \(globalBatch) rows: at most \(Int32.max)")
    }
    try positive(rate, "lr")
    guard leastRate >= 0, leastRate <= rate else {
      throw RequestError("\(parameter: "min_lr") should be from 0 to \(parameter: "lr"), found \(leastRate)")
    }
    try atLeast(0, warmup, "lr_warmup_iters")
    try atLeast(1, evaluationInterval, "eval_interval")
    try atLeast(0, evaluationSteps, "eval_iters")
    try atLeast(1, logInterval, "log_interval")
    try atLeast(1, saveInterval ?? 1, "save_interval")
    try atLeast(-1, keptStates, "checkpoint_keep_last")
    try atLeast(1, exitInterval ?? 1, "exit_interval")
    try positive(exitMinutes ?? 1, "exit_duration_in_mins")
    guard divergenceScale >= 0, divergenceScale.isFinite, divergenceScale > 0 || learnsText else {
      throw RequestError(
        """
        \(parameter: "kd_loss_scale") should be a number above zero, found \(divergenceScale); with \
        \(parameter: "no_skip_lm_loss") 0 leaves the text's loss alone
        """)
    }
    try positive(temperature, "logit_kl_temperature")
    try atLeast(1, topK ?? 1, "logit_kl_topk")
    try validateTeacherCache()
    for pair in layerPairs {
      try atLeast(1, min(pair.student, pair.teacher), "intermediate_layer_pairs")
    }
    if Set(layerPairs).count < layerPairs.count {
      throw RequestError("\(parameter: "intermediate_layer_pairs") names a pair twice")
    }
    if !layerPairs.isEmpty, compute.stages > 1 {
      throw RequestError(
        """
        \(parameter: "intermediate_layer_pairs") compares layers that \(parameter: "pp_size") \(compute.stages) gives to several \
        processes: leave one of them out
        """)
    }
    if !layerPairs.isEmpty, divergenceScale == 0 {
      throw RequestError(
        "\(parameter: "intermediate_layer_pairs") has no bearing where \(parameter: "kd_loss_scale") is 0")
    }
    if validatesOnly, evaluationSteps == 0 {
      throw RequestError("\(parameter: "validate_only") needs \(parameter: "eval_iters") above zero")
    }
  }

  private func validateTeacherCache() throws {
    guard let teacherTopK else { return }
    let name = "teacher_cache_topk"
    try atLeast(1, teacherTopK, name)
    guard teacherTopK <= 4096 else {
      throw RequestError(
        """
        \(parameter: name) can be 4096 at most, found \(teacherTopK): more take more room than the states of a teacher with a \
        hidden_size of 12,288
        """)
    }
    guard teacherCache != nil else {
      throw RequestError("\(parameter: name) is about \(parameter: "teacher_cache"), which is not given")
    }
    guard topK == nil else {
      throw RequestError(
        """
        \(parameter: name) and \(parameter: "logit_kl_topk") are two losses: that of the likeliest tokens beside all others, and \
        that of the likeliest as if there were no others
        """)
    }
    guard teacherPrecision == .computed else {
      throw RequestError(
        "\(parameter: name) keeps no states of what is learned: leave \(parameter: "teacher_cache_bits") out")
    }
  }

  /// Pairs as they are typed: `12:24`, `12:24:mse`.
  public static func layerPairs(_ words: [String]) throws -> [LayerPair] {
    try words.map { word in
      let parts = word.split(separator: ":", omittingEmptySubsequences: false)
      let kind = parts.count > 2 ? LayerPair.Kind(rawValue: String(parts[2])) : .cosine
      guard (2...3).contains(parts.count), let student = Int(parts[0]), let teacher = Int(parts[1]), let kind else {
        throw RequestError(
          """
          \(parameter: "intermediate_layer_pairs") should be a layer of the student and one of the teacher, such as 12:24, or \
          with how they are compared, 12:24:cosine or 12:24:mse; found \(word)
          """)
      }
      return LayerPair(student: student, teacher: teacher, kind: kind)
    }
  }

  /// Names of data with their weights, which are given before each or before none: `1.0 a 2.0 b`.
  static func weighted(_ words: [String]) throws -> [(name: String, weight: Double)] {
    guard let first = words.first, Double(first) != nil, kind(of: first) == .absent else {
      if let number = words.first(where: { Double($0) != nil && kind(of: $0) == .absent }) {
        throw RequestError(
          "\(parameter: "data_paths"): a weight stands before each name or before none; found \(number) without one before the first"
        )
      }
      return words.map { ($0, 1) }
    }
    guard words.count % 2 == 0 else {
      throw RequestError("\(parameter: "data_paths"): a weight is followed by a name; the last one is not")
    }
    return try stride(from: 0, to: words.count, by: 2).map { at in
      guard let weight = Double(words[at]), weight > 0, weight.isFinite else {
        throw RequestError(
          "\(parameter: "data_paths"): \(words[at]) should be a weight above zero, before \(words[at + 1])")
      }
      return (words[at + 1], weight)
    }
  }
}
