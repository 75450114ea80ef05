import JSON
import Messages

/// What a rank says of itself when it joins.
struct Peer: Sendable, Equatable {
  var rank: Int
  var size: Int
  var host: String
  var machine: String
  var processSpace: String
  var process: Int32
  var started: String
  var address: String
  var version: String

  /// This process.
  init(_ settings: WorldSettings, address: String, version: String) {
    (rank, size) = (settings.rank, settings.size)
    host = settings.host ?? systemHostName()
    machine = "\(Machine.identity) \(settings.host ?? "")"
    processSpace = Machine.processSpace
    (process, started) = (ProcessIdentity.own.process, ProcessIdentity.own.started)
    self.address = address
    self.version = version
  }

  /// - Throws: `RankError` for what no rank of Coppice says.
  init(parsing bytes: [UInt8]) throws {
    guard let json = try? JSON(parsing: bytes), let peer = Peer(json) else {
      throw RankError(
        .rendezvous,
        "what a rank says of itself cannot be read: something else than Coppice uses this rendezvous. Choose another MASTER_PORT"
      )
    }
    self = peer
  }

  init?(_ json: JSON) {
    guard let rank = json["rank"]?.int, let size = json["size"]?.int, let host = json["host"]?.string,
      let machine = json["machine"]?.string, let processSpace = json["process_space"]?.string,
      let process = json["process"]?.int.flatMap({ Int32(exactly: $0) }), let started = json["started"]?.string,
      let address = json["address"]?.string, let version = json["version"]?.string
    else { return nil }
    (self.rank, self.size, self.host, self.machine, self.processSpace) = (rank, size, host, machine, processSpace)
    (self.process, self.started, self.address, self.version) = (process, started, address, version)
  }

  var json: JSON {
    .object([
      ("rank", .int(rank)), ("size", .int(size)), ("host", .text(host)), ("machine", .text(machine)),
      ("process_space", .text(processSpace)), ("process", .int(Int(process))), ("started", .text(started)),
      ("address", .text(address)), ("version", .text(version)),
    ])
  }

  /// As people find it: `rank 2 (process 4711 on gpu3)`.
  var name: String { "rank \(rank) (process \(process) on \(host))" }

  /// Its process, where this one can see it.
  var identity: ProcessIdentity? {
    guard processSpace == Machine.processSpace, let now = ProcessIdentity(process: process) else { return nil }
    return now.started == started ? now : nil
  }

  /// Whether its process is known to have ended: never of another machine's.
  var isGone: Bool { processSpace == Machine.processSpace && (identity?.isGone ?? true) }
}
