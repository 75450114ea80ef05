import Files
import JSON
import Messages
import Torch

/// How the ranks of a run find each other: by a store of keys that rank 0 or the launcher serves.
struct Meeting {
  let settings: WorldSettings
  let own: Peer
  let host: String
  let port: UInt16
  /// For what is done in order, at the start.
  let store: KeyStore
  /// A connection of its own: the monitor's calls wait for nobody.
  let monitorStore: KeyStore
  /// By rank.
  let peers: [Peer]

  /// Seconds of one call on the store.
  static let callTimeout = 10.0

  /// Waits for all ranks.
  ///
  /// - Throws: `RankError` that says who is missing, or cannot be reached; `FileError`, `TorchError`.
  init(_ settings: WorldSettings, version: String, news: News?) throws {
    self.settings = settings
    let end = now() + settings.joinTimeout
    let prefix = "coppice/\(settings.job)"
    func connect(_ host: String, _ port: UInt16, _ name: String) throws -> KeyStore {
      if let reason = obstacle(toReach: host, port: port, until: end) { throw Self.unreached(settings, name, reason) }
      do { return try KeyStore(host: host, port: port, timeout: Self.callTimeout, prefix: prefix) } catch {
        throw RankError(
          .rendezvous,
          """
          what answers at \(host):\(port) is no store of keys (\(error)): something else uses the port. Choose another \
          MASTER_PORT, the same for all ranks
          """, rank: 0)
      }
    }
    func serve(_ port: UInt16, _ listener: Int32?) throws -> KeyStore {
      do {
        return try KeyStore(
          host: "127.0.0.1", port: port, serving: true, listener: listener, timeout: Self.callTimeout, prefix: prefix)
      } catch let error as TorchError {
        throw RankError(
          .rendezvous,
          """
          rank 0 cannot open port \(port), by which the ranks find each other: \(error.message). Another run may use it: \
          choose another MASTER_PORT
          """)
      }
    }
    var file: LocalMeeting?
    switch settings.rendezvous {
    case .agent(let host, let port):
      (self.host, self.port) = (host, port)
      store = try connect(host, port, "the launcher's store at \(host):\(port)")
      monitorStore = try connect(host, port, "the launcher's store at \(host):\(port)")
    case .served(let host, let port, let listener):
      self.port = port
      self.host = settings.rank == 0 ? "127.0.0.1" : host
      if settings.rank == 0 {
        store = try serve(port, listener)
        monitorStore = try KeyStore(host: "127.0.0.1", port: port, timeout: Self.callTimeout, prefix: prefix)
      } else {
        store = try connect(host, port, "rank 0 at \(host):\(port)")
        monitorStore = try connect(host, port, "rank 0 at \(host):\(port)")
      }
    case .local(let name):
      host = "127.0.0.1"
      let place = LocalMeeting(name: name)
      if settings.rank == 0 {
        let listener = try loopbackListener()
        port = listener.port
        store = try serve(port, listener.descriptor)
        monitorStore = try KeyStore(host: host, port: port, timeout: Self.callTimeout, prefix: prefix)
        try place.publish(port: port)
        file = place
      } else {
        var found = try place.port()
        while found == nil, now() < end {
          pause(seconds: 0.02)
          found = try place.port()
        }
        guard let found else {
          throw Self.unreached(settings, "rank 0 on this machine", "it has not written \(place.path)")
        }
        port = found
        store = try connect(host, port, "rank 0 on this machine")
        monitorStore = try connect(host, port, "rank 0 on this machine")
      }
    }
    defer { file?.close() }
    let reached: String
    if case .local = settings.rendezvous {
      reached = host
    } else if case .served(let host, _, _) = settings.rendezvous {
      reached = host
    } else {
      reached = host
    }
    own = Peer(
      settings,
      address: settings.address ?? ownAddress(toward: reached, port: port, isOneMachine: settings.isOneMachine),
      version: version)
    peers = try Self.gathered(settings, own, store, until: end, news)
  }

  private static func unreached(_ settings: WorldSettings, _ what: String, _ reason: String) -> RankError {
    RankError(
      .rendezvous,
      """
      rank \(settings.rank) of \(settings.size), on \(settings.host ?? systemHostName()), did not reach \(what) within \
      \(spoken(settings.joinTimeout)): \(reason). See that rank 0 was started, that MASTER_ADDR and MASTER_PORT are the same \
      for all ranks, and that no firewall is between
      """, rank: 0)
  }

  /// Says that this rank is here, and waits for all.
  private static func gathered(
    _ settings: WorldSettings, _ own: Peer, _ store: KeyStore, until end: Double, _ news: News?
  ) throws -> [Peer] {
    try store.set(Keys.beat(own.rank), Array("0".utf8))
    let mine = Array(own.json.serialized().utf8)
    let there = try store.setFirst(Keys.join(own.rank), mine)
    if there != mine {
      let other = try Peer(parsing: there)
      throw RankError(
        .rendezvous,
        """
        there are two of rank \(own.rank): process \(own.process) on \(own.host), and process \(other.process) on \
        \(other.host). Each rank is started once; where a launcher gives the ranks out, set none of its variables by hand
        """)
    }
    guard own.rank == 0 else {
      // Rank 0 decides, a little later than it would if it saw this one last.
      let answer = try waiting(for: "rank 0's word that all have come", settings) {
        try store.get(Keys.go, timeout: max(1, end - now()) + 5)
      }
      return try peers(answer, settings)
    }
    do {
      let peers = try allPeers(settings, store, until: end, news)
      try check(peers, settings)
      try store.set(Keys.go, Array(JSON.array(peers.map(\.json)).serialized().utf8))
      return peers
    } catch let error as RankError {
      try store.set(Keys.go, Array(JSON.object([("error", .text(error.description))]).serialized().utf8))
      // The store ends with this process: the others get time to read.
      if case .agent = settings.rendezvous {} else { pause(seconds: 0.5) }
      throw error
    }
  }

  private static func waiting<T>(for what: String, _ settings: WorldSettings, _ body: () throws -> T) throws -> T {
    do { return try body() } catch let error as TorchError {
      throw RankError(
        .rendezvous,
        """
        rank \(settings.rank) of \(settings.size), on \(settings.host ?? systemHostName()), waited in vain for \(what): \
        \(error.message)
        """, rank: 0)
    }
  }

  private static func peers(_ answer: [UInt8], _ settings: WorldSettings) throws -> [Peer] {
    let json = try? JSON(parsing: answer)
    if let error = json?["error"]?.string { throw RankError(.rendezvous, Message(error)) }
    let peers = json?.array?.compactMap(Peer.init) ?? []
    guard peers.count == settings.size, peers.enumerated().allSatisfy({ $0.offset == $0.element.rank }) else {
      throw RankError(.rendezvous, "rank 0's list of the ranks cannot be read: is it of another version of Coppice?")
    }
    return peers
  }

  private static func allPeers(
    _ settings: WorldSettings, _ store: KeyStore, until end: Double, _ news: News?
  ) throws -> [Peer] {
    var found: [Int: Peer] = [:]
    while true {
      for rank in 0..<settings.size where found[rank] == nil {
        if try store.has(Keys.join(rank)) { found[rank] = try Peer(parsing: store.get(Keys.join(rank), timeout: 5)) }
      }
      if found.count == settings.size { return found.sorted { $0.key < $1.key }.map(\.value) }
      if let end = news?.next() {
        throw RankError(.rendezvous, "rank \(end.rank) \(end.text) before all ranks had met", rank: end.rank)
      }
      if now() >= end { throw missing(found, settings) }
      pause(seconds: 0.02)
    }
  }

  private static func missing(_ found: [Int: Peer], _ settings: WorldSettings) -> RankError {
    let missing = (0..<settings.size).filter { found[$0] == nil }
    let hosts = Dictionary(grouping: found.values, by: \.host).sorted { $0.key < $1.key }
    let here = hosts.prefix(8).map { "\(named($0.value.map(\.rank))) on \($0.key)" }.joined(separator: ", ")
    return RankError(
      .rendezvous,
      """
      \(named(missing)) of \(settings.size) did not come within \(spoken(settings.joinTimeout)); \(here) \
      \(found.count == 1 ? "is" : "are") there\(hosts.count > 8 ? ", and more" : ""). See what \
      \(missing.count == 1 ? "that process" : "those processes") printed, and that the machines reach each other
      """, rank: missing.first)
  }

  private static func check(_ peers: [Peer], _ settings: WorldSettings) throws {
    let facts = peers.map { [("the version of Coppice", $0.version), ("the number of ranks", "\($0.size)")] }
    if let text = Agreement.differences(facts) { throw RankError(.disagreement, Message(text)) }
    guard Set(peers.map { $0.machine.split(separator: " ").first }).count > 1 else { return }
    if let peer = peers.first(where: { isLoopback($0.address) }) {
      throw RankError(
        .rendezvous,
        """
        \(peer.name) knows no other address of its own than \(peer.address), which other machines cannot reach: set \
        GLOO_SOCKET_IFNAME to its network interface, or COPPICE_ADDRESS to its address
        """, rank: peer.rank)
    }
  }
}

/// The names of what ranks tell each other by the store.
enum Keys {
  static func join(_ rank: Int) -> String { "join/\(rank)" }
  static func beat(_ rank: Int) -> String { "beat/\(rank)" }
  static let go = "go"
  static let loss = "loss"
  static func knows(_ rank: Int) -> String { "knows/\(rank)" }
}
