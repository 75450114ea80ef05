import Checkpoint
import Crypto
import Datasets
import Execution
import Files
import Foundation
import JSON
import Messages
import Minitron
import Models
import Tokenization

/// Conversations whose answers a model writes itself: text to calibrate on that is as the model's own.
///
/// Rows that are complete are kept beside the output as they come, and a run that is ended goes on with the others. On the CPU
/// each answer depends on its prompt, the seed and its number alone: the result is the same bytes whatever was ended.
public struct CalibrateJob {
  private let request: CalibrateRequest
  private let events: RunEvents

  /// How answers come about: raised when the same request gives others.
  private static let version = 1

  /// - Parameter listeners: told what happens in the run.
  /// - Throws: `RequestError` for a request that no model could meet.
  public init(_ request: CalibrateRequest, listeners: [any RunListener] = []) throws {
    try request.validate()
    self.request = request
    events = RunEvents(listeners)
  }

  /// Has the answers written.
  ///
  /// - Throws: what is wrong with the model, the data or the output; what a listener throws.
  public func run() throws -> CalibrateOutcome {
    // Before a model is fetched: a file that is there is never overwritten.
    let claim = try claimOutput()
    let places = HubDatasets(events)
    let names = request.data.isEmpty ? [DatasetRegistry.defaultName] : request.data
    let directory = try ModelPlace.directory(
      request.model, revision: request.revision, events: events,
      beforeWeights: { try explainingGates(of: names) { try places.check(names) } })
    let model = try SourceModel(directory: directory)
    for note in model.notes { try events.note(.checkpoint(note)) }
    for warning in model.checkpoint.indexNotes { try events.warn(.checkpoint(warning)) }
    let outcome = try model.checkpoint.blamingChanges { try answer(model, names, places, output: claim.path) }
    withExtendedLifetime(claim) {}
    return outcome
  }

  private func claimOutput() throws -> OutputClaim {
    if kind(of: request.output) == .directory {
      throw RunError("\(request.output) is a directory; name a file for the conversations")
    }
    do { return try OutputClaim(request.output) } catch let error as CheckpointError where error.kind == .exists {
      throw RunError("\(request.output) is there already, and is not overwritten; name another \(parameter: "out")")
    }
  }

  private func answer(
    _ model: SourceModel, _ names: [String], _ places: HubDatasets, output: String
  ) throws -> CalibrateOutcome {
    let directory = model.checkpoint.directory
    let tokenizer = try Tokenizer(directory: directory)
    let sampling = try Sampling(request, directory: directory)
    let stops = try StopTokens(directory: directory, tokenizer: tokenizer).ids
    let encoder = try PromptEncoder(tokenizer: tokenizer, directory: directory, thinks: request.thinks)
    let (rows, prompts) = try prompts(names, places, encoder)
    let longest = (prompts.map(\.count).max() ?? 0) + request.maxNewTokens
    if let limit = model.description.exceededPositions(longest) {
      try events.warn(.promptsTooLong(tokens: longest, limit: limit))
    }
    let executor = try request.compute.executor(model)
    if let hint = try request.compute.typeHint(for: model) { try events.note(.computeType(hint)) }
    let hashing = events.progress("fingerprint", total: nil, unit: "bytes")
    let weights = try model.checkpoint.sha256(progress: { done, _ in hashing.update(done) })
    hashing.finish()
    let continuations = Continuations(
      prompts: prompts, maxNewTokens: request.maxNewTokens, stops: Set(stops.map { Int32(clamping: $0) }))
    let kept = try AnsweredRows(
      besideOutput: output,
      fingerprint: Fingerprint([
        ("calibrate", "\(Self.version)"), ("weights", weights),
        ("prompts", Fingerprint([("tokens", prompts.map { "\($0)" }.joined(separator: "\n"))]).key),
        ("temperature", "\(sampling.temperature)"), ("top_p", "\(sampling.topP)"), ("top_k", "\(sampling.topK)"),
        ("seed", "\(request.seed)"), ("max_new_tokens", "\(request.maxNewTokens)"), ("stops", "\(stops.sorted())"),
        ("compute_dtype", "\(executor.weights.dtype)"), ("device", "\(executor.weights.device)"),
      ]), count: rows.count, isFresh: request.fresh)
    let before = kept.rows.count
    if before > 0 { try events.note(.answersKept(before, of: rows.count, file: kept.path)) }

    let open = rows.indices.filter { kept.rows[$0] == nil }
    let whole = [Selection(all: model.description)]
    if !open.isEmpty {
      try events.note(.measuring("answers", WalkSummary(executor.plan(continuations, items: open, subjects: whole))))
    }
    var samplers: [Int: Sampler] = [:]
    var (tokens, cut) = (0, 0)
    let progress = events.progress("answers", total: open.count, unit: "conversations")
    try executor.generate(
      continuations, items: open, subjects: whole.map { Subject($0) }, progress: { progress.update($0, of: $1) },
      choose: { _, row, logits in
        Int32(clamping: try samplers[row, default: sampler(sampling, row)].next(logits))
      },
      finish: { _, row, new, end in
        samplers[row] = nil
        tokens += new.count
        if end == .length { cut += 1 }
        // A model's vocabulary may be padded with rows that no token has.
        let ids = new.map { Int($0) }.filter { tokenizer.token(of: $0) != nil }
        try kept.add(row, encoder.answered(rows[row], tokenizer.decode(ids, skipSpecialTokens: true)))
      })
    progress.finish()
    try model.checkpoint.checkUnchanged()
    try kept.publish(to: output)
    return CalibrateOutcome(
      output: output, rows: rows.count, kept: before, newTokens: tokens, cut: cut,
      computeType: "\(executor.weights.dtype)")
  }

  /// Each row's own: what is chosen for it does not depend on the others.
  private func sampler(_ sampling: Sampling, _ row: Int) -> Sampler {
    let hash = SHA256.hash(data: Array("\(request.seed) \(row)".utf8))
    return Sampler(
      temperature: sampling.temperature, topK: sampling.topK, topP: sampling.topP,
      seed: hash.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
  }

  private func prompts(
    _ names: [String], _ places: HubDatasets, _ encoder: PromptEncoder
  ) throws -> (rows: [RenderedConversation], tokens: [[Int32]]) {
    var tokens: [[Int32]] = []
    var tooLong = 0
    let data = try names.data(places)
    let (rows, warnings) = try explainingGates(of: names) {
      try data.conversations(encoder: encoder, count: request.rows, seed: request.seed) { row in
        let ids = try encoder.encode(row.text)
        guard ids.count <= request.maxPromptTokens else {
          tooLong += 1
          return false
        }
        tokens.append(ids.map { Int32(clamping: $0) })
        return true
      }
    }
    for warning in warnings { try events.warn(.data(warning)) }
    let list = names.joined(separator: ", ")
    if tooLong > 0 {
      try events.warn(
        .data(
          "\(list): \(tooLong) conversations begin with more than \(parameter: "max_prompt_tokens") \(request.maxPromptTokens) tokens and were passed over"
        ))
    }
    guard !rows.isEmpty else {
      throw RunError("\(list): there is no conversation to answer, none that begins with a user's message")
    }
    if rows.count < request.rows {
      try events.warn(
        .data(
          "\(list): \(rows.count) of \(request.rows) conversations; name more data or a smaller \(parameter: "calib_num_samples")"
        ))
    }
    return (rows, tokens)
  }
}
