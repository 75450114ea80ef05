import Files
import Messages
import Synchronization
public import Torch

/// How tensors go from rank to rank where ranks compute on GPUs.
public struct DeviceLinks: Sendable, Equatable {
  /// The device of each rank, such as `cuda:1`.
  public let devices: [String]
  /// Ranks that compute on the same device as this one, with itself.
  public let sharing: Int
  /// Pairs between which tensors go from GPU to GPU, and NCCL's version there.
  public internal(set) var direct = 0
  public internal(set) var version: String?
  /// Why tensors between other pairs go through the machine's memory; nil where there are none.
  public internal(set) var obstacle: String?
}

/// The channels of a rank: to others, and from others.
struct DeviceChannels: Sendable {
  var outward: [Int: DeviceChannel] = [:]
  var inward: [Int: DeviceChannel] = [:]
}

/// What a rank computes on, as the others need to know it.
private struct RankDevice {
  let name: String
  /// The machine and the place on its bus; empty for other devices than GPUs.
  let place: String
  /// NCCL's version; empty where it is not to be had, and why.
  let version: String, obstacle: String

  init(_ device: Device, address: String?, machine: String, library: String?) throws {
    name = "\(device)"
    place = address.map { "\(machine) \($0)" } ?? ""
    guard address != nil, library != "off" else {
      (version, obstacle) = ("", "\(World.libraryVariable) is off")
      return
    }
    do {
      (version, obstacle) = (try DeviceChannel.version(library: library), "")
    } catch let error as TorchError {
      (version, obstacle) = ("", error.message)
    }
  }

  init?(_ facts: [(name: String, value: String)]) {
    guard facts.map(\.name) == ["name", "place", "version", "obstacle"] else { return nil }
    (name, place) = (facts[0].value, facts[1].value)
    (version, obstacle) = (facts[2].value, facts[3].value)
  }

  var facts: [(name: String, value: String)] {
    [("name", name), ("place", place), ("version", version), ("obstacle", obstacle)]
  }

  /// Why there is no way by NCCL between two ranks; nil where there is one.
  static func obstacle(_ from: (rank: Int, RankDevice), _ to: (rank: Int, RankDevice)) -> String? {
    for (rank, device) in [from, to] {
      if device.place.isEmpty { return "rank \(rank) computes on \(device.name)" }
      if device.version.isEmpty { return "on rank \(rank) \(device.obstacle)" }
    }
    if from.1.place == to.1.place { return "ranks \(from.rank) and \(to.rank) share a GPU" }
    guard from.1.version == to.1.version else {
      return "NCCL is \(from.1.version) on rank \(from.rank) and \(to.1.version) on rank \(to.rank)"
    }
    return nil
  }
}

extension World {
  /// `off`, or the file of NCCL's library where it is not the one that libtorch is linked to.
  public static let libraryVariable = "COPPICE_NCCL"

  /// Makes ways from GPU to GPU between ranks that send each other tensors. All ranks call it, with the same pairs; what they send
  /// from such a device goes there and stays on the receiver's device. Between others tensors go through the machines' memory.
  ///
  /// - Parameters:
  ///   - device: which this rank computes on.
  ///   - address: of the device on its machine's bus; nil for other devices than GPUs.
  ///   - pairs: from whom to whom tensors go, in an order in which every rank receives before it sends.
  /// - Throws: `RankError`, also where two ranks do not find each other by NCCL.
  public func connectDevices(
    _ device: Device, address: String?, pairs: [(from: Int, to: Int)]
  ) throws -> DeviceLinks {
    let library = Environment.process[Self.libraryVariable]
    let own = try RankDevice(device, address: address, machine: machine, library: library)
    let all = try exchange(Agreement.encode(own.facts)).compactMap { Agreement.decode($0).flatMap(RankDevice.init) }
    guard all.count == size else { throw RankError(.misuse, "a rank does not say what it computes on") }
    let sharing = own.place.isEmpty ? localSize : all.count { $0.place == own.place }
    var links = DeviceLinks(devices: all.map(\.name), sharing: sharing)
    for (from, to) in pairs {
      if let obstacle = RankDevice.obstacle((from, all[from]), (to, all[to])) {
        links.obstacle = links.obstacle ?? obstacle
        continue
      }
      (links.direct, links.version) = (links.direct + 1, all[from].version)
      do {
        if rank == from {
          let id = try DeviceChannel.makeID(library: library)
          try send(id, to: to)
          let channel = try DeviceChannel(id, isFirst: true, device: device, library: library)
          channels.withLock { $0.outward[to] = channel }
        } else if rank == to {
          let channel = try DeviceChannel(receiveBytes(from: from), isFirst: false, device: device, library: library)
          channels.withLock { $0.inward[from] = channel }
        }
      } catch let error as TorchError {
        throw RankError(
          .rendezvous,
          """
          ranks \(from) and \(to) do not find each other by NCCL: \(error.message). NCCL_DEBUG=INFO says more; \
          \(Self.libraryVariable)=off sends through the machines' memory
          """)
      }
    }
    return links
  }

  /// The bytes of all ranks, by rank, on all of them. All call it.
  func exchange(_ bytes: [UInt8]) throws -> [[UInt8]] {
    let all = try gather(bytes, to: 0)
    // Each part after its length.
    let joined = try broadcast(all.flatMap { "\($0.count):".utf8 + $0 }, from: 0)
    var (parts, rest) = ([[UInt8]](), joined[...])
    while let colon = rest.firstIndex(of: UInt8(ascii: ":")) {
      let start = colon + 1
      guard let count = Int(String(decoding: rest[..<colon], as: UTF8.self)),
        (0...rest.endIndex - start).contains(count)
      else { break }
      parts.append(Array(rest[start..<start + count]))
      rest = rest[(start + count)...]
    }
    return parts
  }
}
