import Files
import Messages
import Synchronization
public import Torch

/// The processes that do one run together: one of size 1 is a run as any other.
///
/// All methods are for one thread of the rank, the one that the run is on. They throw `RankError` when another rank fails,
/// ends or does not answer, within 30 seconds of it, and with the same words on every rank. A process that computes, and
/// comes to no method in that time, is ended (`WorldSettings.endsProcess`).
///
/// Tensors of devices go through the machines' memory, or from GPU to GPU where `connectDevices` made a way.
public final class World: Sendable {
  public let rank: Int
  public let size: Int
  /// Among the ranks of this machine.
  public let localRank: Int
  public let localSize: Int
  /// What tells this machine from the others.
  let machine: String
  /// The machine of each rank, by its name.
  public let hosts: [String]

  /// Messages under way to a rank, after which `send` waits. Two ranks that send each other more than that before they
  /// receive wait for ever.
  public static let inFlight = 4

  struct Connections: Sendable {
    let group: ProcessGroup
    let meeting: Meeting
    let monitor: Monitor
  }

  let connections: Connections?
  private let hasLeft = Mutex(false)
  /// The parts of what is on its way, by the rank that it goes to.
  private let outgoing = Mutex<[Int: [[PendingMessage]]]>([:])
  let channels = Mutex(DeviceChannels())

  enum Tag {
    static let header: Int32 = 0
    static let payload: Int32 = 1
    static let farewell: Int32 = 2
    static let exchange: Int32 = 3
  }

  /// A run of one process. Makes no connection, thread or store.
  public static let alone = World()

  public var isAlone: Bool { size == 1 }

  private init() {
    (rank, size, localRank, localSize, connections) = (0, 1, 0, 1, nil)
    (machine, hosts) = ("", [systemHostName()])
  }

  /// Meets the other ranks.
  ///
  /// - Parameter version: must be the same on all.
  /// - Throws: `RankError`: who is missing, or what differs; `TorchError`, `FileError`.
  public init(_ settings: WorldSettings, version: String) throws {
    guard settings.size > 1 else {
      (rank, size, localRank, localSize, connections) = (0, 1, 0, 1, nil)
      (machine, hosts) = ("", [settings.host ?? systemHostName()])
      return
    }
    (rank, size) = (settings.rank, settings.size)
    let news = settings.news.map { News($0) }
    let meeting = try Meeting(settings, version: version, news: news)
    let here = meeting.peers.filter { $0.machine == meeting.own.machine }
    localSize = here.count
    localRank = here.firstIndex { $0.rank == settings.rank } ?? 0
    (machine, hosts) = (meeting.own.machine, meeting.peers.map(\.host))
    let monitor = Monitor(meeting, news: news)
    do {
      let group = try ProcessGroup(
        meeting.store, rank: settings.rank, size: settings.size, address: meeting.own.address,
        interface: settings.address == nil ? settings.interface : nil, timeout: settings.joinTimeout)
      connections = Connections(group: group, meeting: meeting, monitor: monitor)
    } catch let error as TorchError {
      try monitor.check()
      let text = "cannot connect to the other ranks from \(meeting.own.address): \(error.message)"
      monitor.fail(text, isInterruption: false)
      throw RankError(.rendezvous, "\(meeting.own.name) \(text)")
    }
    if settings.endsProcess {
      Interruption.before { number in
        monitor.fail("was ended by \(spoken(signal: number))", isInterruption: true, patience: 1)
      }
    }
  }

  deinit { connections?.monitor.leave() }

  /// Sends a tensor, which may be changed or dropped on return: it is copied.
  ///
  /// - Parameter copied: whether to copy it. One that nobody changes any more need not be.
  public func send(_ tensor: Tensor, to rank: Int, copied: Bool = true) throws {
    if let channel = channels.withLock({ $0.outward[rank] }), channel.device == tensor.device {
      let payload = try copied || !tensor.isContiguous ? tensor.clone().contiguous() : tensor
      return try send(.tensor(shape: payload.shape, payload.dtype, isDirect: true), payload, to: rank, by: channel)
    }
    // Both others are copies already.
    let plain = tensor.device == .cpu && tensor.isContiguous
    let payload = try plain && copied ? tensor.clone() : tensor.to(device: .cpu).contiguous()
    try send(.tensor(shape: payload.shape, payload.dtype, isDirect: false), payload, to: rank)
  }

  /// The next tensor of a rank, on the CPU or, from such a rank, on the device of the way that leads here.
  ///
  /// - Throws: `RankError`, misuse, also where it has sent bytes.
  public func receive(from rank: Int) throws -> Tensor {
    let (header, tensor) = try message(from: rank)
    guard case .tensor = header else { throw RankError(.misuse, "rank \(rank) has sent bytes in place of a tensor") }
    return tensor
  }

  public func send(_ bytes: [UInt8], to rank: Int) throws {
    let payload = try bytes.withUnsafeBytes { try Tensor(bytes: $0, shape: [bytes.count], dtype: .uint8) }
    try send(.bytes(count: bytes.count), payload, to: rank)
  }

  /// The next bytes of a rank.
  ///
  /// - Throws: `RankError`, misuse, also where it has sent a tensor.
  public func receiveBytes(from rank: Int) throws -> [UInt8] {
    let (header, tensor) = try message(from: rank)
    guard case .bytes = header else { throw RankError(.misuse, "rank \(rank) has sent a tensor in place of bytes") }
    return try tensor.withUnsafeBytes { Array($0) }
  }

  /// Waits until everything that was sent is on its way.
  public func flush() throws {
    for rank in outgoing.withLock({ Array($0.keys) }) { try drain(rank, to: 0) }
  }

  /// Says to the others why this rank ends: they throw the same. Nothing where they end already.
  public func fail(_ reason: String) {
    connections?.monitor.fail("failed: \(reason)", isInterruption: false)
  }

  /// The clean end of a run: returns when all ranks have come here. Nothing can be sent any more, and leaving again is nothing.
  public func leave() throws {
    guard connections != nil, !hasLeft.withLock({ $0 }) else { return }
    try barrier()
    try flush()
    try? say(farewell: ())
  }

  /// All ranks have come to the same end. Rank 0 may serve the store, and is the last to go.
  func say(farewell: Void) throws {
    guard let connections else { return }
    hasLeft.withLock { $0 = true }
    connections.monitor.leave()
    let patience = connections.meeting.settings.silenceTimeout
    let note = try Tensor([Int64(rank)], shape: [1])
    if rank == 0 {
      for other in 1..<size {
        _ = try connections.group.receive(into: note, from: other, tag: Tag.farewell).wait(timeout: patience)
      }
    } else {
      _ = try connections.group.send(note, to: 0, tag: Tag.farewell).wait(timeout: patience)
    }
  }

  func checkRank(_ other: Int, mayBeOwn: Bool = false) throws {
    guard (0..<size).contains(other), mayBeOwn || other != rank else {
      throw RankError(.misuse, "rank \(rank) of \(size) has nothing to exchange with rank \(other)")
    }
  }

  private func send(
    _ header: MessageHeader, _ payload: Tensor, to other: Int, by channel: DeviceChannel? = nil
  ) throws {
    try checkRank(other)
    guard let connections else { return }
    try drain(other, to: Self.inFlight - 1)
    // Both are under way at once: the header arrives first, and neither waits for the receiver here.
    var parts = [try started(other) { try connections.group.send(header.encoded(), to: other, tag: Tag.header) }]
    if payload.elementCount > 0 {
      parts.append(
        try started(other) {
          try channel?.send(payload) ?? connections.group.send(payload, to: other, tag: Tag.payload)
        })
    }
    outgoing.withLock { $0[other, default: []].append(parts) }
  }

  /// Waits until at most so many messages are under way to a rank.
  private func drain(_ other: Int, to count: Int) throws {
    guard let connections else { return }
    while let parts = outgoing.withLock({ all -> [PendingMessage]? in
      guard let first = all[other]?.first, (all[other]?.count ?? 0) > count else { return nil }
      all[other]?.removeFirst()
      return first
    }) {
      for part in parts { try connections.monitor.wait(for: part, with: other) }
    }
  }

  private func message(from other: Int) throws -> (MessageHeader, Tensor) {
    try checkRank(other)
    guard let connections else { throw RankError(.misuse, "a run of one process receives nothing") }
    func received(into tensor: Tensor, _ tag: Int32, by channel: DeviceChannel? = nil) throws {
      let message = try started(other) {
        try channel?.receive(into: tensor) ?? connections.group.receive(into: tensor, from: other, tag: tag)
      }
      try connections.monitor.wait(for: message, with: other)
    }
    let words = try Tensor.zeros([MessageHeader.length], dtype: .int64)
    try received(into: words, Tag.header)
    guard let header = MessageHeader(try words.int64s()) else {
      throw RankError(.misuse, "what rank \(other) has sent is no message of Coppice's")
    }
    let payload: Tensor
    var channel: DeviceChannel?
    switch header {
    case .bytes(let count): payload = try .empty([count], dtype: .uint8)
    case .tensor(let shape, let dtype, let isDirect):
      if isDirect {
        channel = channels.withLock { $0.inward[other] }
        guard channel != nil else { throw RankError(.misuse, "rank \(other) sends to a GPU to which no way was made") }
      }
      payload = try .empty(shape, dtype: dtype, device: channel?.device ?? .cpu)
    }
    if payload.elementCount > 0 { try received(into: payload, Tag.payload, by: channel) }
    return (header, payload)
  }

  /// A connection that is broken already shows when a message is started.
  func started(_ other: Int, _ body: () throws -> PendingMessage) throws -> PendingMessage {
    guard let connections else { throw RankError(.misuse, "a run of one process sends nothing") }
    try connections.monitor.check()
    do { return try body() } catch let error as TorchError { throw connections.monitor.lost(other, error.message) }
  }
}
