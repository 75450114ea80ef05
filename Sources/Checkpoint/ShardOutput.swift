import Files
import Dispatch
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One weight file being written, its header last. Bytes gather in blocks; a full block is written on another thread while
/// the next one fills.
final class ShardOutput {
  /// Blocks begin at multiples of this in the file.
  private static let blockSize = 2 << 20
  private static let blockCount = 3

  private let header: [UInt8]
  private let writer: BlockWriter
  private var block: Block
  /// Where in the file the next byte goes.
  private var position: Int

  init(path: String, _ shard: ShardPlan.Shard, _ metadata: [String: String]) throws {
    header = try shard.header(metadata: metadata)
    writer = try BlockWriter(
      path: path, blockSize: Self.blockSize, blockCount: Self.blockCount, bytes: header.count + shard.byteCount)
    block = try writer.take()
    position = header.count
    begin()
  }

  deinit { writer.close() }

  /// Goes to a byte of the tensors' part.
  func seek(_ offset: Int) throws {
    guard header.count + offset != position else { return }
    try flush()
    position = header.count + offset
    begin()
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while !rest.isEmpty {
      if block.upper == Self.blockSize { try flush() }
      let count = min(rest.count, Self.blockSize - block.upper)
      UnsafeMutableRawBufferPointer(rebasing: block.memory[block.upper..<block.upper + count])
        .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<count]))
      block.upper += count
      position += count
      rest = UnsafeRawBufferPointer(rebasing: rest[count...])
    }
  }

  func finish() throws {
    try flush()
    try writer.drain()
    try writer.file.seek(0)
    try header.withUnsafeBytes { try writer.file.write($0) }
    try writer.file.synchronize()
  }

  /// Hands the block over and takes an empty one.
  private func flush() throws {
    if block.upper > block.lower { try writer.write(block) } else { writer.put(block) }
    block = try writer.take()
    begin()
  }

  private func begin() {
    block.start = position / Self.blockSize * Self.blockSize
    block.lower = position - block.start
    block.upper = block.lower
  }
}

/// A stretch of a file in memory.
struct Block: @unchecked Sendable {
  // Owned by the writer; one side uses it at a time.
  let memory: UnsafeMutableRawBufferPointer
  /// The block's place in the file, and which of its bytes are to be written.
  var start = 0, lower = 0, upper = 0
}

/// Writes blocks on a thread of its own. Whole blocks of large files go past the system's page cache where the file system
/// allows: nobody reads them soon, and copying them there takes longer than writing them.
///
/// Unchecked: what both threads use is guarded by `state`, blocks and descriptors are used by one side at a time.
final class BlockWriter: @unchecked Sendable {
  let file: OpenFile
  private var direct: OpenFile?
  private let blockSize: Int
  private let memory: [UnsafeMutableRawBufferPointer]
  private let queue = DispatchQueue(label: "coppice.write", qos: .userInitiated)
  private let free: DispatchSemaphore
  private let state: Mutex<(free: [Block], failure: CheckpointError?)>

  /// Below so many bytes the page cache is the better place.
  private static let large = 64 << 20

  init(path: String, blockSize: Int, blockCount: Int, bytes: Int) throws {
    file = try OpenFile.creating(path)
    direct = bytes >= Self.large ? OpenFile.writingDirectly(path) : nil
    self.blockSize = blockSize
    memory = (0..<blockCount).map { _ in .allocate(byteCount: blockSize, alignment: 4096) }
    // A semaphore that goes while it counts less than at first is taken for an error: so it begins at nothing.
    free = DispatchSemaphore(value: 0)
    state = Mutex((memory.map { Block(memory: $0) }, nil))
    for _ in memory { free.signal() }
  }

  deinit { memory.forEach { $0.deallocate() } }

  /// An empty block, as soon as there is one.
  ///
  /// - Throws: what went wrong with a block before.
  func take() throws -> Block {
    free.wait()
    let (block, failure) = state.withLock { ($0.free.popLast(), $0.failure) }
    if let failure {
      if let block { put(block) }
      throw failure
    }
    guard let block else { throw CheckpointError(.io, "\(file.path): no block is left to write with") }
    return block
  }

  func put(_ block: Block) {
    state.withLock { $0.free.append(block) }
    free.signal()
  }

  func write(_ block: Block) throws {
    queue.async { [self] in
      do { try store(block) } catch let error as CheckpointError {
        state.withLock { $0.failure = $0.failure ?? error }
      } catch {
        state.withLock { $0.failure = $0.failure ?? CheckpointError(.io, "cannot write \(file.path): \(error)") }
      }
      put(block)
    }
  }

  /// Waits for all blocks.
  func drain() throws {
    queue.sync {}
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }

  /// Waits until nothing is being written any more, whatever became of it.
  func close() { queue.sync {} }

  private func store(_ block: Block) throws {
    let bytes = UnsafeRawBufferPointer(rebasing: block.memory[block.lower..<block.upper])
    if bytes.count == blockSize, let direct {
      do { return try direct.write(bytes, at: block.start) } catch {
        // Some file systems open files so and then refuse to write: this block and the next ones take the other way, and
        // a disk that is full says so there.
        self.direct = nil
      }
    }
    try file.write(bytes, at: block.start + block.lower)
  }
}

extension OpenFile {
  func seek(_ offset: Int) throws {
    guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else { throw systemError("write", path) }
  }

  /// Writes all of a buffer at a place in the file.
  func write(_ buffer: UnsafeRawBufferPointer, at offset: Int) throws {
    var done = 0
    while done < buffer.count {
      let count = pwrite(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset + done))
      if count < 0 {
        if errno == EINTR { continue }
        throw systemError("write", path)
      }
      if count == 0 { throw systemError("write", path, ENOSPC) }
      done += count
    }
  }
}

/// Throws when a directory's disk has less room than `bytes`: a disk too full should say so before the work, not
/// after it. Quotas are not seen here; they show when the bytes are written.
func requireSpace(_ bytes: Int, in directory: String) throws {
  let room = try freeBytes(in: directory)
  guard room < bytes else { return }
  throw CheckpointError(
    .io,
    "the weights need \(bytes) bytes and the disk of \(directory) has \(room) left: free some space or choose an "
      + "output on another disk, then run the same command again")
}
