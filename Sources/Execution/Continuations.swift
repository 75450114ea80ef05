import Models

/// Prompts that a model is to continue, token by token.
public struct Continuations: Sendable {
  public let prompts: [[Int32]]
  /// New tokens of each at most.
  public let maxNewTokens: Int
  /// Tokens that end a continuation and do not belong to it.
  public let stops: Set<Int32>
  /// Whether what all prompts begin with is computed once, where it is long enough.
  public let sharesBeginning: Bool

  public init(prompts: [[Int32]], maxNewTokens: Int, stops: Set<Int32>, sharesBeginning: Bool = true) {
    self.prompts = prompts
    self.maxNewTokens = max(maxNewTokens, 1)
    self.stops = stops
    self.sharesBeginning = sharesBeginning
  }

  /// A shorter beginning is not worth a place of its own.
  private static let leastShared = 16

  /// Tokens that all prompts begin with and that are computed once. It depends on all prompts, whichever are continued: what
  /// comes out for one does not depend on the others that are.
  func sharedCount(_ description: ModelDescription) -> Int {
    guard sharesBeginning, prompts.count > 1, let first = prompts.first,
      // Keys of longer sequences may be rotated for their own length.
      longest <= min(description.longestSharing, description.recomputesBeyond ?? .max)
    else { return 0 }
    var shared = first.count - 1
    for prompt in prompts.dropFirst() {
      shared = min(shared, prompt.count - 1)
      var count = 0
      while count < shared, prompt[count] == first[count] { count += 1 }
      shared = count
    }
    return shared >= Self.leastShared ? shared : 0
  }

  /// Tokens of the longest prompt and its continuation.
  public var longest: Int { (prompts.map(\.count).max() ?? 0) + maxNewTokens }
}

/// A prompt as one subject continues it.
struct RunningSequence {
  /// The prompt's number.
  let item: Int
  let slot: Int
  /// Tokens that the model has seen; a shared beginning counts.
  var seen: Int
  var shares: Bool
  /// The new tokens.
  var new: [Int32] = []

  /// - Parameter limit: where a sequence grows beyond so many tokens, all of its keys are computed anew.
  mutating func step(_ prompt: [Int32], limit: Int?) -> SequenceStep {
    var step = SequenceStep(
      slot: slot, tokens: Array(new.isEmpty ? prompt[seen...] : new.suffix(1)), before: seen, shares: shares)
    if let limit, seen > 0, seen <= limit, seen + step.tokens.count > limit {
      shares = false
      step = SequenceStep(slot: slot, tokens: prompt + new, before: 0, shares: false)
    }
    seen = step.before + step.tokens.count
    return step
  }
}

extension Executor {
  /// Continues prompts with every subject, as many together as memory allows. Where one is complete the next begins.
  ///
  /// What comes out for a prompt does not depend, on the CPU, on what is continued beside it, nor on memory: products have the
  /// same size whatever is in them.
  ///
  /// - Parameters:
  ///   - continuations: the prompts, and how long they may become.
  ///   - items: numbers of prompts, in the order in which they begin; nil for all.
  ///   - subjects: what is kept of the model, one for each candidate.
  ///   - recorder: where this is saved as it goes, between walks, and where it goes on. What was finished is the recorder's
  ///     to restore.
  ///   - progress: called with the part that is done, of `items × subjects × maxNewTokens`.
  ///   - choose: chooses the next token by the logits: subject, item, `[V]`.
  ///   - isComplete: whether a continuation is complete after its latest token, for another reason than a stop token or its
  ///     length: subject, item, new tokens.
  ///   - finish: called with each continuation when it is complete.
  /// - Throws: `ModelError` for prompts that the model has no tokens for; what the calls throw.
  public func generate(
    _ continuations: Continuations, items: [Int]? = nil, subjects: [Subject], recorder: (any WalkRecorder)? = nil,
    progress: (_ done: Int, _ total: Int) -> Void = { _, _ in },
    choose: (_ subject: Int, _ item: Int, _ logits: [Float]) throws -> Int32,
    isComplete: (_ subject: Int, _ item: Int, _ new: [Int32]) throws -> Bool = { _, _, _ in false },
    finish: (_ subject: Int, _ item: Int, _ new: [Int32], _ end: ContinuationEnd) throws -> Void
  ) throws {
    let items = items ?? Array(continuations.prompts.indices)
    for item in items { try model.check(continuations.prompts[item]) }
    let digest = recorder == nil ? 0 : TokenBatch.digest(items.map { TokenBatch([continuations.prompts[$0]]) })
    // A position says which prompts are done, and with which subjects the next are being continued.
    let position = try recorder?.resume { position, keys in
      position.batches == digest && position.chunk.isEmpty && keys.isEmpty && position.leg >= 0 && position.batch > 0
        && (0...items.count).contains(position.chunk.lowerBound) && position.leg < subjects.count
        && position.batch <= subjects.count - position.leg
    } put: { _, _ in
      throw ModelError("no state is kept")
    }
    var first = position?.leg ?? 0
    var resumed = position
    let total = items.count * subjects.count * continuations.maxNewTokens
    while first < subjects.count, !items.isEmpty {
      let rest = Array(subjects[first...])
      let memory = ContinuationMemory(
        self, continuations, items: items, subjects: rest.map(\.selection), together: resumed?.batch)
      let group = memory.subjects
      let done = resumed?.chunk.lowerBound ?? 0
      resumed = nil
      let before = first * items.count * continuations.maxNewTokens
      try generate(
        continuations, items: Array(items[done...]), subjects: Array(rest.prefix(group)), memory: memory,
        progress: { progress(before + group * done * continuations.maxNewTokens + $0, total) },
        save: { complete in
          guard let recorder, recorder.isDue(withStates: false) else { return }
          var position = WalkPosition(batches: digest, chunk: done + complete..<done + complete)
          (position.leg, position.batch) = (first, group)
          recorder.save(position, keys: []) { _ in throw ModelError("no state is kept") }
        },
        choose: { try choose(first + $0, $1, $2) }, isComplete: { try isComplete(first + $0, $1, $2) },
        finish: { try finish(first + $0, $1, $2, $3) })
      first += group
    }
    progress(total, total)
  }

  /// The same for subjects whose memory is there together.
  ///
  /// - Parameters:
  ///   - save: called after each step with the number of first items that are complete for all subjects.
  private func generate(
    _ continuations: Continuations, items: [Int], subjects: [Subject], memory: ContinuationMemory,
    progress: (Int) -> Void, save: (Int) -> Void, choose: (Int, Int, [Float]) throws -> Int32,
    isComplete: (Int, Int, [Int32]) throws -> Bool, finish: (Int, Int, [Int32], ContinuationEnd) throws -> Void
  ) throws {
    // What a subject has in place of the model's weights may take a walk of its own to find: it is found once.
    let isResident = memory.isResident || subjects.contains { $0.overlay != nil }
    let walk = StepwiseWalk(weights, subjects, slots: memory.slots, isResident: isResident)
    let shared = memory.slots.shared
    if shared > 0, let prompt = continuations.prompts.first {
      let beginning = SequenceStep(slot: nil, tokens: Array(prompt[..<shared]), before: 0, shares: false)
      try walk.run(subjects.map { _ in [beginning] }) { _, _, _ in }
    }
    var queues = subjects.map { _ in items.startIndex }
    var free = subjects.map { _ in Array((0..<memory.slots.count).reversed()) }
    var running = subjects.map { _ in [RunningSequence]() }
    // Of each subject, which items are complete.
    var complete = subjects.map { _ in [Bool](repeating: false, count: items.count) }
    let places = Dictionary(uniqueKeysWithValues: items.enumerated().map { ($1, $0) })
    var leading = 0
    var done = 0
    while true {
      for subject in subjects.indices {
        while queues[subject] < items.endIndex, let slot = free[subject].popLast() {
          running[subject].append(
            RunningSequence(item: items[queues[subject]], slot: slot, seen: shared, shares: shared > 0))
          queues[subject] += 1
        }
      }
      if running.allSatisfy(\.isEmpty) { break }
      let steps = subjects.indices.map { subject in
        running[subject].indices.map { number in
          running[subject][number].step(
            continuations.prompts[running[subject][number].item], limit: model.description.recomputesBeyond)
        }
      }
      var ended = subjects.map { _ in Set<Int>() }
      try walk.run(steps) { subject, number, logits in
        let item = running[subject][number].item
        let token = try choose(subject, item, logits)
        let isStop = continuations.stops.contains(token)
        if !isStop { running[subject][number].new.append(token) }
        let new = running[subject][number].new
        var end: ContinuationEnd? = isStop ? .stop : nil
        if end == nil, try isComplete(subject, item, new) { end = .complete }
        if end == nil, new.count >= continuations.maxNewTokens { end = .length }
        guard let end else {
          done += 1
          return
        }
        done += continuations.maxNewTokens - (new.count - (isStop ? 0 : 1))
        ended[subject].insert(number)
        free[subject].append(running[subject][number].slot)
        if let place = places[item] { complete[subject][place] = true }
        try finish(subject, item, new, end)
      }
      for subject in subjects.indices where !ended[subject].isEmpty {
        running[subject] = running[subject].indices.filter { !ended[subject].contains($0) }
          .map { running[subject][$0] }
      }
      while leading < items.count, complete.allSatisfy({ $0[leading] }) { leading += 1 }
      progress(done)
      save(leading)
    }
  }
}

/// Why a continuation has no further token.
public enum ContinuationEnd: String, Sendable, Codable {
  /// The model gave a token that ends texts.
  case stop
  /// Whoever asked for it had enough.
  case complete
  /// It has as many tokens as were asked for.
  case length
}
