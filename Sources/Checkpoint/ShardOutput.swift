#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One weight file being written, through a buffer, its header last.
final class ShardOutput {
  private let file: FileHandle
  private let header: [UInt8]
  private let buffer: UnsafeMutableRawBufferPointer
  private var buffered = 0
  /// Where in the file the next byte goes once the buffer is written.
  private var position: Int

  init(path: String, _ shard: ShardPlan.Shard, _ metadata: [String: String]) throws {
    header = try shard.header(metadata: metadata)
    file = try FileHandle.creating(path)
    buffer = .allocate(byteCount: 4 << 20, alignment: 4096)
    position = 0
  }

  deinit { buffer.deallocate() }

  /// Goes to a byte of the tensors' part.
  func seek(_ offset: Int) throws {
    guard header.count + offset != position + buffered else { return }
    try flush()
    position = header.count + offset
    try file.seek(position)
  }

  func append(_ bytes: UnsafeRawBufferPointer) throws {
    if bytes.count > buffer.count - buffered { try flush() }
    guard bytes.count < buffer.count else {
      try file.write(bytes)
      position += bytes.count
      return
    }
    guard !bytes.isEmpty else { return }
    UnsafeMutableRawBufferPointer(rebasing: buffer[buffered..<buffered + bytes.count]).copyMemory(from: bytes)
    buffered += bytes.count
  }

  func finish() throws {
    try flush()
    try file.seek(0)
    try header.withUnsafeBytes { try file.write($0) }
    try file.synchronize()
  }

  private func flush() throws {
    guard buffered > 0 else { return }
    try file.write(UnsafeRawBufferPointer(rebasing: buffer[..<buffered]))
    position += buffered
    buffered = 0
  }
}

extension FileHandle {
  func seek(_ offset: Int) throws {
    guard lseek(descriptor, off_t(offset), SEEK_SET) >= 0 else { throw systemError("write", path) }
  }
}

/// Throws when a directory's disk has less room than `bytes`: a disk too full should say so before the work, not
/// after it. Quotas are not seen here; they show when the bytes are written.
func requireSpace(_ bytes: Int, in directory: String) throws {
  var status = statvfs()
  guard statvfs(directory, &status) == 0 else { throw systemError("look at", directory) }
  let (room, overflow) = UInt64(status.f_bavail).multipliedReportingOverflow(by: UInt64(status.f_frsize))
  guard !overflow, room < UInt64(bytes) else { return }
  throw CheckpointError(
    .io,
    "the weights need \(bytes) bytes and the disk of \(directory) has \(room) left: free some space or choose an "
      + "output on another disk, then run the same command again")
}
