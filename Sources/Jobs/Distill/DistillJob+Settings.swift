import Execution
import Files
import Models
import Ranks
import Torch
import Training

// What a request comes to for two models.
extension DistillJob {
  /// How the processes divide both models. The last stage has the logits of both besides its layers.
  func division(
    _ student: SourceModel, _ teacher: SourceModel
  ) throws -> (student: CrewLayout, teacher: CrewLayout) {
    let tokens = request.seqLength
    // Of the student all is done three times, there and back, of the teacher once.
    let ending =
      student.description.headOperations(tokens: tokens) + teacher.description.headOperations(tokens: tokens) / 3
    return (
      try request.compute.layout(of: student.description, tokens: tokens, ranks: world.size, ending: ending),
      try request.compute.layout(of: teacher.description, tokens: tokens, ranks: world.size)
    )
  }

  func rule(_ student: SourceModel, _ dtype: DType) throws -> TrainingRule {
    TrainingRule(
      loss: LossRule(
        divergence: request.divergenceScale, crossEntropy: request.learnsText ? 1 : 0,
        temperature: request.temperature, topK: request.topK, isBalanced: request.learnsText),
      rate: LearningRate(
        peak: request.rate, end: request.leastRate, warmup: min(request.warmup, request.steps), steps: request.steps),
      recomputes: try recomputes(student, dtype))
  }

  /// Whether layers' activations are computed again on the way back: as it was asked for, else as the run has begun, for the two are
  /// rounded apart; else where they would take more than a quarter of the memory.
  private func recomputes(_ student: SourceModel, _ dtype: DType) throws -> Bool {
    if let asked = request.recomputes { return asked }
    // All do as the first: others may have another memory.
    guard world.isAlone else { return try world.broadcast([recomputesAlone(student, dtype) ? 1 : 0], from: 0) == [1] }
    return try recomputesAlone(student, dtype)
  }

  private func recomputesAlone(_ student: SourceModel, _ dtype: DType) throws -> Bool {
    if !request.fresh, let begun = try WholeFile.objectIfPresent(request.output + "/run.json")?["recompute"]?.string {
      return begun == "true"
    }
    let device = try request.compute.device.place(localRank: world.localRank)
    return TrainedModel.isShort(
      of: device == .cpu ? request.compute.budget : MemoryBudget.automatic(device: device), student.description,
      tokens: request.microBatch * request.seqLength,
      elementSize: dtype.byteCount)
  }

  /// What decides about the weights that come of it, besides models and data.
  func settings(_ dtype: DType) -> [(String, String)] {
    let pairs = request.layerPairs.map { "\($0.student):\($0.teacher):\($0.kind.rawValue)" }
    return [
      ("distillation", "1"), ("seq_length", "\(request.seqLength)"), ("mbs", "\(request.microBatch)"),
      ("gbs", "\(request.globalBatch)"), ("train_iters", "\(request.steps)"), ("lr", "\(request.rate)"),
      ("min_lr", "\(request.leastRate)"), ("lr_warmup_iters", "\(request.warmup)"), ("seed", "\(request.seed)"),
      ("no_skip_lm_loss", "\(request.learnsText)"), ("kd_loss_scale", "\(request.divergenceScale)"),
      ("logit_kl_temperature", "\(request.temperature)"), ("compute_dtype", "\(dtype)"),
    ] + (request.layerPairs.isEmpty ? [] : [("intermediate_layer_pairs", pairs.joined(separator: " "))])
      + (request.topK.map { [("logit_kl_topk", "\($0)")] } ?? []) + precision
      + (request.teacherTopK.map { [("teacher_cache_topk", "\($0)")] } ?? [])
  }

  var precision: [(String, String)] {
    request.teacherPrecision == .computed ? [] : [("teacher_cache_bits", "\(request.teacherPrecision.rawValue)")]
  }
}
