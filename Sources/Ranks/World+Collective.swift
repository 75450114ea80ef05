import Messages

extension World {
  // MARK: What all ranks do together

  /// The root's bytes, on every rank. All call it; others' bytes are ignored.
  public func broadcast(_ bytes: [UInt8], from root: Int) throws -> [UInt8] {
    guard !isAlone else { return bytes }
    try checkRank(root, mayBeOwn: true)
    // A binomial tree: who has them sends to those that are farther by ever smaller powers of two.
    let place = (rank - root + size) % size
    var span = 1
    while span < size, place & span == 0 { span *= 2 }
    let bytes = place == 0 ? bytes : try receiveBytes(from: (place - span + root) % size)
    while span > 1 {
      span /= 2
      if place + span < size { try send(bytes, to: (place + span + root) % size) }
    }
    return bytes
  }

  /// The bytes of all ranks, by rank, on the root; nothing elsewhere. All call it.
  public func gather(_ bytes: [UInt8], to root: Int) throws -> [[UInt8]] {
    guard !isAlone else { return [bytes] }
    try checkRank(root, mayBeOwn: true)
    guard rank == root else {
      try send(bytes, to: root)
      return []
    }
    return try (0..<size).map { $0 == rank ? bytes : try receiveBytes(from: $0) }
  }

  /// Adds numbers up over all ranks, in their order: the same sums on each. All call it, with as many numbers.
  public func sum(_ numbers: [Double]) throws -> [Double] { try combine(numbers, +) }

  /// The least of all ranks' numbers, place by place: the same on each. All call it, with as many numbers.
  public func least(of numbers: [Double]) throws -> [Double] { try combine(numbers, min) }

  private func combine(_ numbers: [Double], _ join: (Double, Double) -> Double) throws -> [Double] {
    guard !isAlone else { return numbers }
    func bytes(_ numbers: [Double]) -> [UInt8] { numbers.withUnsafeBytes { Array($0) } }
    func doubles(_ bytes: [UInt8]) -> [Double] {
      bytes.withUnsafeBytes { all in numbers.indices.map { all.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
      }
    }
    let all = try gather(bytes(numbers), to: 0)
    guard all.allSatisfy({ $0.count == 8 * numbers.count }) else {
      throw RankError(.misuse, "ranks combine other numbers than rank 0's \(numbers.count)")
    }
    // Rank 0's are the first: the others have got nothing.
    let joined = all.dropFirst().map(doubles).reduce(numbers) { zip($0, $1).map(join) }
    return doubles(try broadcast(bytes(joined), from: 0))
  }

  /// Returns when all ranks have come here.
  public func barrier() throws {
    guard !isAlone else { return }
    _ = try gather([], to: 0)
    _ = try broadcast([], from: 0)
  }

  /// Compares facts of all ranks, in order. All call it.
  ///
  /// - Throws: `RankError`, disagreement: on every rank the same, with what differs and on which ranks.
  public func agree(on facts: [(name: String, value: String)]) throws {
    guard !isAlone else { return }
    let all = try gather(Agreement.encode(facts), to: 0)
    var verdict = ""
    if rank == 0 {
      let decoded = all.compactMap(Agreement.decode)
      verdict =
        decoded.count == size ? Agreement.differences(decoded) ?? "" : "what the ranks have to agree on cannot be read"
    }
    verdict = String(decoding: try broadcast(Array(verdict.utf8), from: 0), as: UTF8.self)
    guard !verdict.isEmpty else { return }
    // All end now: nobody may do so before the others have read why.
    try barrier()
    try flush()
    try? say(farewell: ())
    throw RankError(.disagreement, Message(verdict))
  }
}
