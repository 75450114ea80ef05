public import Execution
import JSON
import Models
public import Ranks
import Torch

// Shapes: M tokens, H hidden, V vocabulary, R rows of a slice of it.

/// The model that is learned from. Its layers are read as they are needed: it is never in memory as a whole.
///
/// In a pipeline each process reads those of its own stage, and the last has what comes of them.
public final class Teacher {
  private let executor: Executor
  private let cache: TeacherCache?
  private let world: World
  private let layout: CrewLayout
  private var head: OutputHead?
  /// What it gives of a batch.
  struct States {
    /// Its distributions of the B × S next tokens.
    var last: Teaching
    /// The residual stream after layers, by their 0-based numbers: `[B × S, H]`.
    var layers: [Int: Tensor] = [:]
  }

  var width: Int { executor.weights.model.description.sizes[.hidden] }

  /// - Parameters:
  ///   - executor: of the whole model.
  ///   - cache: where states are kept of rows that have names; nil for nowhere.
  ///   - world: processes that learn together.
  ///   - layout: of the teacher's layers in them; nil where each has all of them.
  public init(
    _ executor: Executor, cache: TeacherCache? = nil, world: World = .alone, layout: CrewLayout? = nil
  ) {
    (self.executor, self.cache, self.world) = (executor, cache, world)
    let layers = executor.weights.model.description.layers.indices
    self.layout = layout ?? CrewLayout(stages: [layers], replicas: world.size)
  }

  public var vocabulary: Int { executor.weights.model.description.sizes[.vocabulary] }

  /// How many tokens go through the teacher together: more cost fewer passes over its weights, until their states take a quarter of
  /// the memory for hidden states.
  ///
  /// - Parameter layers: whose results are wanted besides the last states.
  func tokensAtOnce(layers: Int) -> Int {
    // A state as it comes into a layer, as it leaves it, and as it is kept at the end.
    let weights = executor.weights
    let bytes = (3 + layers) * weights.model.description.sizes[.hidden] * weights.dtype.byteCount
    // On an accelerator more than this would be no quicker.
    let most = device == .cpu ? Int.max : 4 << 30
    return max(min(executor.room / 4, most) / max(bytes, 1), 1)
  }

  private var device: Device { executor.weights.device }

  private var stages: Range<Int> { layout.ranks(ofReplica: layout.replica(of: world.rank)) }
  private var isLast: Bool { world.rank + 1 == stages.upperBound }

  /// The states of each batch: those that are kept, the others computed. All processes of a pipeline call it.
  ///
  /// - Parameters:
  ///   - layers: whose results are wanted besides the last states: 0-based.
  ///   - learns: whether these are learned from. What is measured is of whole distributions whatever is kept of the others.
  /// - Returns: in stages before the last nil for each.
  func states(_ batches: [TrainingBatch], layers: [Int], learns: Bool) throws -> [States?] {
    let likeliest = learns ? cache?.likeliest : nil
    var found = try batches.map { isLast ? try kept($0, layers, likeliest) : nil }
    let missing = try toldByTheLast(batches.indices.filter { found[$0] == nil })
    guard !missing.isEmpty else { return found }
    var seen: [Int: [Int: Tensor]] = [:]
    let results = LayerResults(executor.weights.model.description, of: layers, together: false) {
      layer, number, state, _ in
      seen[number, default: [:]][layer] =
        try self.keep(flat(state), of: batches[missing[number]], in: self.cache?.of(layer: layer)).clone()
    }
    try walk(missing.map { batches[$0].batch }, visitor: layers.isEmpty ? nil : results) { number, hidden in
      found[missing[number]] = States(
        last: try self.teaching(flat(hidden), of: batches[missing[number]], likeliest),
        layers: seen.removeValue(forKey: number) ?? [:])
    }
    return found
  }

  /// Numbers that only the last stage knows.
  private func toldByTheLast(_ numbers: [Int]) throws -> [Int] {
    guard stages.count > 1 else { return numbers }
    guard isLast else {
      return try JSON(parsing: world.receiveBytes(from: stages.upperBound - 1)).array?.compactMap(\.int) ?? []
    }
    for rank in stages.dropLast() {
      try world.send(Array(JSON.array(numbers.map { .int($0) }).serialized().utf8), to: rank)
    }
    return numbers
  }

  /// - Parameter final: gets what comes after the final norm, `[B, S, H]`; in stages before the last nothing.
  private func walk(
    _ batches: [TokenBatch], visitor: (any WalkVisitor)?, final: (_ batch: Int, _ hidden: Tensor) throws -> Void
  ) throws {
    let subjects = [Selection(all: executor.weights.model.description)]
    guard stages.count > 1 else {
      return try executor.run(batches, subjects: subjects, visitor: visitor, progress: { _ in }) {
        _, number, hidden, head in
        self.head = self.head ?? head
        try final(number, hidden)
      }
    }
    try executor.run(
      batches, subjects: subjects, stage: layout.stage(world.rank, of: executor, WorldLink(world)), visitor: visitor,
      wantsFinal: true, final: { try final($1, $2) })
  }

  /// - Parameter states: after the final norm, `[B × S, H]`.
  /// - Returns: what is learned of them, or measured by, as it will be read.
  private func teaching(_ states: Tensor, of batch: TrainingBatch, _ cache: LikeliestCache?) throws -> Teaching {
    guard let cache, !batch.names.isEmpty else {
      return .states(try keep(states, of: batch, in: self.cache), head: try slicedHead())
    }
    let all = try LikeliestTokens(of: states, head: slicedHead(), cache.rule)
    return .likeliest(try joined(eachRow(of: batch) { try cache.write($0, all.part($1)) }, batch))
  }

  /// - Parameter states: `[B × S, H]`.
  /// - Returns: the same as they will be read.
  private func keep(_ states: Tensor, of batch: TrainingBatch, in cache: TeacherCache?) throws -> Tensor {
    guard let cache, !batch.names.isEmpty else { return states }
    let kept = try eachRow(of: batch) { try cache.write($0, states.narrow(dim: 0, $1)) }
    return cache.isExact ? states : try joined(kept, batch)
  }

  private func eachRow<Row>(of batch: TrainingBatch, _ body: (String, Range<Int>) throws -> Row) rethrows -> [Row] {
    try batch.names.enumerated().map { try body($1, batch.place(ofRow: $0)) }
  }

  /// Rows' numbers with what stands for padding: `[B × S, …]`.
  private func joined(_ rows: [Tensor], _ batch: TrainingBatch) throws -> Tensor {
    let parts = try rows.flatMap { row in
      let missing = batch.packing == nil ? batch.width - row.shape[0] : 0
      return missing > 0
        ? [row, try Tensor.zeros([missing, row.shape[1]], dtype: row.dtype, device: row.device)] : [row]
    }
    return parts.count == 1 ? parts[0] : try Tensor.cat(parts, dim: 0)
  }

  private func joined(_ rows: [LikeliestTokens], _ batch: TrainingBatch) throws -> LikeliestTokens {
    LikeliestTokens(ids: try joined(rows.map(\.ids), batch), logs: try joined(rows.map(\.logs), batch))
  }

  /// A batch's states where all of its rows are kept.
  private func kept(_ batch: TrainingBatch, _ layers: [Int], _ likeliest: LikeliestCache?) throws -> States? {
    guard let cache else { return nil }
    let last: Teaching
    if let likeliest {
      guard let rows = kept(batch, likeliest.read) else { return nil }
      last = .likeliest(try joined(rows, batch).placed(on: device))
    } else {
      guard let rows = kept(batch, cache.read) else { return nil }
      last = .states(try joined(rows, batch).to(device: device), head: try slicedHead())
    }
    var states = States(last: last)
    for layer in layers {
      guard let rows = kept(batch, cache.of(layer: layer).read) else { return nil }
      states.layers[layer] = try joined(rows, batch).to(device: device)
    }
    return states
  }

  private func kept<Row>(_ batch: TrainingBatch, _ read: (String, Int) -> Row?) -> [Row]? {
    guard batch.names.count == batch.inputs.count, !batch.names.isEmpty else { return nil }
    var rows: [Row] = []
    for (name, tokens) in zip(batch.names, batch.inputs) {
      guard let row = read(name, tokens.count) else { return nil }
      rows.append(row)
    }
    return rows
  }

  /// The head, which is the same for all batches.
  private func slicedHead() throws -> any SlicedHead {
    let head = try self.head ?? executor.head(of: Subject(Selection(all: executor.weights.model.description)))
    self.head = head
    return TeacherHead(vocabulary: vocabulary, head: head)
  }
}

/// `[B, S, H]` → `[B × S, H]`.
private func flat(_ states: Tensor) throws -> Tensor { try states.reshape([-1, states.shape[2]]) }

private struct TeacherHead: SlicedHead {
  let vocabulary: Int
  let head: OutputHead

  func products(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor { try head.products(states, slice: rows) }

  func logits(of products: Tensor, _ rows: Range<Int>) throws -> Tensor { try head.logits(of: products, slice: rows) }
}
