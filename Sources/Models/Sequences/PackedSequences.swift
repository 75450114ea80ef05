import Torch

// Shapes: T tokens of a packed row, B sequences that are computed together, L tokens of the longest of them.

extension PackedContext {
  /// Lengths are alike when they are as many chunks of this many tokens, and so many sequences are computed together:
  /// each has a state of its own, of some megabytes in large models.
  private static let chunk = 64, together = 16

  /// Runs a recurrence over every sequence of a packed row by itself. What several sequences begin with is computed
  /// once: they go on from the state at its end, also in the rows after this one.
  ///
  /// - Parameters:
  ///   - inputs: `[1, T, …]`.
  ///   - body: takes them as `[B, L, …]`, sequences that end early filled up at the end; gives as many tokens, and the state
  ///     after the last one.
  /// - Returns: `[1, T, …]`.
  func overSequences(
    _ inputs: [Tensor], _ body: ([Tensor], RecurrentState?) throws -> (Tensor, RecurrentState)
  ) throws -> Tensor {
    func own(_ segment: AttentionSegment) -> Range<Int> { segment.own..<segment.own + segment.keys }
    func prefix(_ segment: AttentionSegment) -> Range<Int> { segment.prefix..<segment.prefix + segment.prefixKeys }
    /// States after stretches that others continue, by the keys of the stretch.
    var ends: [Range<Int>: RecurrentState] = [:]
    if packing.carried > 0 { ends[0..<packing.carried] = carry.state }
    var continued = Set(packing.segments.map(prefix).filter { !$0.isEmpty })
    if !packing.kept.isEmpty { continued.insert(packing.kept) }

    var results: [Tensor] = []
    var places = [Int64](repeating: 0, count: packing.positions.count)
    var count = 0
    func run(_ members: [AttentionSegment], after before: RecurrentState?) throws -> RecurrentState {
      let longest = members.map(\.queries).max() ?? 0
      let tokens = members.flatMap { segment in
        (0..<longest).map { Int64(segment.query + min($0, segment.queries - 1)) }
      }
      let indices = try Tensor(tokens, shape: [tokens.count]).to(device: inputs[0].device)
      let (y, state) = try body(
        inputs.map {
          try $0.indexSelect(dim: 1, indices).view([members.count, longest] + $0.shape.dropFirst(2))
        }, before)
      results.append(try y.reshape([1, tokens.count] + y.shape.dropFirst(2)))
      for (place, segment) in members.enumerated() {
        for token in 0..<segment.queries {
          places[segment.query + token] = Int64(count + place * longest + token)
        }
      }
      count += tokens.count
      return state
    }
    func gathered() throws -> Tensor {
      let order = try Tensor(places, shape: [places.count]).to(device: inputs[0].device)
      return try Tensor.cat(results, dim: 1).indexSelect(dim: 1, order)
    }

    if isStepwise {
      try overSteps(run)
      return try gathered()
    }
    // Beginnings first; then what is about as long, as far as there is either something before each or before none.
    var groups: [[Int]: [AttentionSegment]] = [:]
    for segment in packing.segments {
      guard segment.keys == segment.queries else {
        throw ModelError("a sequence of a packed row has other tokens than those that are computed")
      }
      if segment.prefixKeys == 0, continued.contains(own(segment)) {
        ends[own(segment)] = try run([segment], after: nil)
      } else {
        groups[[(segment.queries + Self.chunk - 1) / Self.chunk, min(segment.prefixKeys, 1)], default: []].append(
          segment)
      }
    }
    for (_, members) in groups.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      for start in stride(from: 0, to: members.count, by: Self.together) {
        let some = Array(members[start..<min(start + Self.together, members.count)])
        let before = try some.filter { $0.prefixKeys > 0 }.map { segment in
          guard let end = ends[prefix(segment)] else {
            throw ModelError("a packed row continues a sequence that did not go before it")
          }
          return end
        }
        _ = try run(some, after: RecurrentState(joining: before))
      }
    }
    carry.state = packing.kept.isEmpty ? nil : ends[packing.kept]
    return try gathered()
  }

  /// The same for sequences that go on from step to step: those with as many new tokens together, whose states are kept.
  private func overSteps(_ run: ([AttentionSegment], RecurrentState?) throws -> RecurrentState) throws {
    func before(_ segment: AttentionSegment) throws -> RecurrentState? {
      let isContinued = segment.keys > segment.queries
      guard isContinued || segment.prefixKeys > 0 else { return nil }
      guard let state = carry.states[isContinued ? segment.own : segment.prefix] else {
        throw ModelError("a packed row continues a sequence that did not go before it")
      }
      return state
    }
    let groups = Dictionary(grouping: packing.segments) {
      [$0.queries, $0.keys > $0.queries || $0.prefixKeys > 0 ? 1 : 0]
    }
    for (_, members) in groups.sorted(by: { $0.key.lexicographicallyPrecedes($1.key) }) {
      for start in stride(from: 0, to: members.count, by: Self.together) {
        let some = Array(members[start..<min(start + Self.together, members.count)])
        let after = try run(some, RecurrentState(joining: some.compactMap(before)))
        for (row, segment) in some.enumerated() { carry.states[segment.own] = try after.row(row) }
      }
    }
  }
}

extension RecurrentState {
  /// The states of several sequences as one; nil for none.
  fileprivate init?(joining states: [RecurrentState]) throws {
    guard !states.isEmpty else { return nil }
    convolution = try .cat(states.map(\.convolution), dim: 0)
    state = try .cat(states.map(\.state), dim: 0)
  }

  /// The state of one of several sequences.
  fileprivate func row(_ row: Int) throws -> RecurrentState {
    func part(_ x: Tensor) throws -> Tensor { try x.narrow(dim: 0, start: row, length: 1).clone() }
    return RecurrentState(convolution: try part(convolution), state: try part(state))
  }
}
