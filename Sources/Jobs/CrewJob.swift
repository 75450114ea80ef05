import Checkpoint
import Crypto
import Execution
import Files
import Formatting
import JSON
import Messages
import Minitron
import Models
public import Ranks
import Torch

/// What a process other than rank 0 does in a run of pruning: its part of every walk.
public struct CrewJob {
  private let request: PruneRequest
  private let world: World
  private let events: RunEvents

  /// - Parameters:
  ///   - request: the same as rank 0 has.
  ///   - world: of more than one process, in which this is not rank 0. Whoever made it tells the others of errors (`fail`) and
  ///     ends it (`leave`).
  public init(_ request: PruneRequest, world: World, listeners: [any RunListener] = []) {
    (self.request, self.world) = (request, world)
    events = RunEvents(listeners)
  }

  /// Serves until rank 0 says that the run is over.
  ///
  /// - Throws: what goes wrong here; `RankError` when another process has ended.
  public func run() throws {
    var command = try CrewCommand(world.receiveBytes(from: 0))
    // Rank 0 may find that there is nothing to do.
    if case .end = command { return }
    let directory = try ModelPlace.directory(request.model, revision: request.revision, events: events)
    let model = try SourceModel(directory: directory, keepsPrediction: request.prediction == .keep)
    if case .hash(let files) = command {
      try world.send(SharedHashes.found(files, of: model.checkpoint), to: 0)
      command = try CrewCommand(world.receiveBytes(from: 0))
    }
    guard case .begin = command else { return }
    let executor = try request.compute.executor(model, among: world)
    let layout = try request.layout(of: model.description, world)
    try model.checkpoint.blamingChanges {
      try world.agree(on: CrewFacts.all(model, executor))
      _ = try layout.connectDevices(of: executor, world)
      try CrewMember(world: world, layout: layout, executor: executor).serve()
    }
  }
}

extension PruneJob {
  /// Asks the other processes to take part in this run's walks; nothing where there are none.
  func assemble(_ model: SourceModel, _ executor: Executor) throws {
    if world.isAlone { return }
    let layout = try request.layout(of: model.description, world)
    for rank in 1..<world.size { try world.send(CrewCommand.begin.bytes, to: rank) }
    try world.agree(on: CrewFacts.all(model, executor))
    let links = try layout.connectDevices(of: executor, world)
    try events.note(.crew(layout.text(executor.weights, links)))
    executor.crew = Crew(world, layout)
  }

  /// Tells the other processes that the run is over.
  func dismiss() throws {
    if world.isAlone { return }
    for rank in 1..<world.size { try world.send(CrewCommand.end.bytes, to: rank) }
  }
}

extension PruneRequest {
  /// How the layers are divided among the processes: by what each costs for rows of the request's length.
  func layout(of description: ModelDescription, _ world: World) throws -> CrewLayout {
    try layout(of: description, ranks: world.size)
  }

  func layout(of description: ModelDescription, ranks: Int) throws -> CrewLayout {
    try compute.layout(of: description, tokens: search.seqLength, ranks: ranks)
  }
}

extension ComputeParameters {
  /// How layers are divided among processes: by what each costs.
  ///
  /// - Parameters:
  ///   - tokens: of a row.
  ///   - ending: operations that come after the last layer.
  func layout(
    of description: ModelDescription, tokens: Int, ranks: Int, ending: Double = 0
  ) throws -> CrewLayout {
    let costs = description.layers.indices.map { layer in
      let alone = Architecture(description, layers: [layer])
      let isLast = layer == description.layers.count - 1
      return Int((description.operations(rows: [tokens], in: alone) + (isLast ? ending : 0)) / 1024)
    }
    return try CrewLayout(
      costs: costs, ranks: ranks, stages: stages, first: firstStageLayers, last: lastStageLayers)
  }

  /// The executor of one of several processes, which share the memory of their machine.
  func executor(_ model: SourceModel, among world: World) throws -> Executor {
    var own = self
    if memoryBudget == nil, world.localSize > 1 {
      own.memoryBudget = ByteCount(integerLiteral: budget / world.localSize)
    }
    return try own.executor(model, localRank: world.localRank)
  }
}

extension CrewLayout {
  /// Makes ways from GPU to GPU for what the stages hand on; nil where the CPU computes.
  fileprivate func connectDevices(of executor: Executor, _ world: World) throws -> DeviceLinks? {
    let device = executor.weights.device
    if device == .cpu { return nil }
    let pairs = (1..<ranks).filter { stage(of: $0) > 0 }.map { (from: $0 - 1, to: $0) }
    let links = try world.connectDevices(device, address: device.busAddress(), pairs: pairs)
    executor.shareDevice(among: links.sharing)
    return links
  }

  /// The world in a sentence, with what each process holds and reads.
  func text(_ weights: WeightSource, _ links: DeviceLinks? = nil) -> Message {
    let parts = stages.map { stage in
      let bytes = weights.storedBytes(layers: Set(stage))
      let layers = stage.count == 1 ? "\(stage.upperBound)" : "\(stage.lowerBound + 1)–\(stage.upperBound)"
      return "\(layers) (\(Format.bytes(bytes)))"
    }
    return Message(
      "\(ranks) processes: \(stages.count) stage\(stages.count == 1 ? "" : "s") × \(replicas) "
        + "replica\(replicas == 1 ? "" : "s"); layers \(parts.joined(separator: ", "))\(links.map(text) ?? "")")
  }
}

extension CrewLayout {
  private func text(_ links: DeviceLinks) -> String {
    let ways =
      switch (links.version, links.obstacle) {
      case (nil, nil): ""
      case (nil, let obstacle?): "; states go through the machine's memory: \(obstacle)"
      case (let version?, nil): "; states go from GPU to GPU by NCCL \(version)"
      case (let version?, let obstacle?):
        "; \(links.direct) of \(ranks - replicas) ways between stages are NCCL's (\(version)), others the machine's memory: "
          + obstacle
      }
    return "; on \(links.devices.joined(separator: ", "))\(ways)"
  }
}

/// What has to be the same in all processes of a run, besides Coppice's version, which they compare when they meet.
enum CrewFacts {
  static func all(_ model: SourceModel, _ executor: Executor) throws -> [(name: String, value: String)] {
    // Of libtorch all that results may depend on in their last digits.
    let libtorch = LibTorch.environment()
    return [
      ("model", try hash(model)), ("compute_dtype", "\(executor.weights.dtype)"),
      ("the kind of device", "\(executor.weights.device)".split(separator: ":").first.map(String.init) ?? ""),
      ("libtorch", libtorch.version ?? "unknown"), ("libtorch's kernels", libtorch.cpuCapability ?? "unknown"),
    ]
  }

  /// Of the config, of what all weights are (names, types, shapes and places in their files) and of some bytes of some of them:
  /// other weights of the same shapes show, without reading all.
  private static func hash(_ model: SourceModel) throws -> String {
    var hash = SHA256()
    hash.update(data: Array(JSON.object(model.checkpoint.config).serialized().utf8))
    let entries = model.checkpoint.tensors.sorted { $0.name < $1.name }
    for (number, entry) in entries.enumerated() {
      hash.update(
        data: Array("\(entry.name) \(entry.file) \(entry.type.rawValue) \(entry.shape) \(entry.range)\n".utf8))
      guard number % max(entries.count / 256, 1) == 0 else { continue }
      let bytes = try model.checkpoint.bytes(of: entry.name)
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes.prefix(64)))
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: bytes.suffix(64)))
    }
    return hexadecimal(hash.finalize().prefix(8))
  }
}
