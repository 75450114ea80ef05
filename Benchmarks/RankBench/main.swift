import Files
import Foundation
import Ranks
import Torch

// Sends tensors from rank to rank: for measurements, and for tests that end a rank meanwhile.
//
//   rank-bench pairs BYTES COUNT    rank 0 sends COUNT tensors of BYTES to rank 1, which sends as many back then
//   rank-bench ring SECONDS         each rank sends to the next one, over and over
//   rank-bench channels COUNT [BUS] COUNT tensors go from each rank to the next by NCCL, as if each had a GPU (or all the GPU at BUS)
//   rank-bench idle SECONDS         each rank computes nothing and sends nothing
//   rank-bench differ               the ranks disagree
//   rank-bench fail RANK            a rank fails by itself; the others wait for it

/// All are there: whoever waits for that may begin.
func meet(_ world: World) throws {
  try world.barrier()
  if world.rank == 0 { print("met") }
  fflush(nil)
}

/// Sends tensors from rank to rank by NCCL. Without GPUs they are on the CPU, for another library in NCCL's place.
func channels(_ count: Int, bus: String?, _ world: World) throws {
  let own = Device.cuda(world.localRank)
  let device = own.isAvailable ? own : .cpu
  let links = try world.connectDevices(
    device, address: bus ?? device.busAddress() ?? "slot \(world.rank)",
    pairs: (1..<world.size).map { (from: $0 - 1, to: $0) })
  if world.rank == 0 { print("\(links.direct) by NCCL \(links.version ?? "none"): \(links.obstacle ?? "all")") }
  try meet(world)
  for turn in 0..<count {
    let state =
      try world.rank == 0
      ? Tensor.full([33, 257], Double(turn), dtype: .float32, device: device) : world.receive(from: world.rank - 1)
    if world.rank + 1 < world.size { try world.send(state.adding(1), to: world.rank + 1) }
    let last = try state.to(device: .cpu).select(dim: 0, index: 32).select(dim: 0, index: 256).item()
    guard last == Double(turn + world.rank) else { throw TorchError("turn \(turn) came with \(last)") }
  }
}

func run(_ words: [String], _ world: World) throws {
  func number(_ index: Int) -> Int { words.count > index ? Int(words[index]) ?? 0 : 0 }
  let next = (world.rank + 1) % world.size
  let previous = (world.rank + world.size - 1) % world.size
  switch words.first {
  case "pairs":
    let tensor = try Tensor.randn([max(1, number(1) / 4)])
    let count = number(2)
    try world.barrier()
    let start = Date()
    for (from, to) in [(0, 1), (1, 0)] {
      for _ in 0..<count {
        if world.rank == from { try world.send(tensor, to: to, copied: false) }
        if world.rank == to { _ = try world.receive(from: from) }
      }
    }
    try world.barrier()
    let seconds = Date().timeIntervalSince(start)
    if world.rank == 0 {
      let messages = Double(count) * 2
      let bytes = Double(tensor.byteCount) * messages
      print(
        String(
          format: "%d tensors of %d bytes there and back: %.2f GB/s, %.0f a second", count, tensor.byteCount,
          bytes / seconds / 1e9, messages / seconds))
    }
  case "ring":
    try meet(world)
    let end = Date() + Double(number(1))
    var turns = 0
    // Rank 0 decides, so that all end at the same turn.
    while try world.broadcast([Date() < end ? 1 : 0], from: 0) == [1] {
      try world.send(try Tensor.full([64, 1024], Double(turns), dtype: .float32), to: next)
      let tensor = try world.receive(from: previous)
      guard try tensor.select(dim: 0, index: 0).select(dim: 0, index: 0).item() == Double(turns) else {
        throw TorchError("turn \(turns) came with other numbers")
      }
      turns += 1
    }
    if world.rank == 0 { print("\(turns) turns") }
  case "channels": try channels(number(1), bus: words.count > 2 ? words[2] : nil, world)
  case "idle":
    try meet(world)
    Thread.sleep(forTimeInterval: Double(number(1)))
    try world.barrier()
  case "differ": try world.agree(on: [("parity", "\(world.rank % 2)"), ("size", "\(world.size)")])
  case "fail":
    try world.barrier()
    if world.rank == number(1) { throw TorchError("no paper in the printer") }
    _ = try world.receive(from: number(1))
  default: throw TorchError("pairs, ring, channels, idle, differ or fail, found \(words)")
  }
}

signal(SIGPIPE, SIG_IGN)
LibTorch.prepare()
Interruption.install()
let world: World
do {
  world = try WorldSettings.found().map { try World($0, version: "bench") } ?? .alone
} catch {
  Unfinished.leave(1, saying: "Error: \(error)")
}
do {
  try run(Array(CommandLine.arguments.dropFirst()), world)
  try world.leave()
  fflush(nil)
  Unfinished.leave(0)
} catch {
  world.fail("\(error)")
  Interruption.holdIfEnding()
  Unfinished.leave(1, saying: "Error: \(error)")
}
