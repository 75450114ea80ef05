import CParquet
import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A regular file of data, read from front to back; one that is compressed as what it holds.
final class InputFile {
  /// Of the file as it lies on the disk.
  let size: Int
  /// Its name in messages.
  let name: String
  var descriptor: Int32 { file.descriptor }

  private let file: OpenFile
  private let unpacking: Unpacking?

  /// - Parameter name: what messages call it; its path when nil.
  /// - Throws: `FileError` for what is missing, no regular file, or a pointer of git-lfs.
  init(_ path: String, name: String? = nil, compression: Compression = .none) throws {
    self.name = name ?? path
    (file, size) = try OpenFile.reading(path)
    if size < GitLFS.maximumLength {
      var start = [UInt8](repeating: 0, count: 100)
      let count = pread(file.descriptor, &start, start.count, 0)
      if count > 0, GitLFS.isPointer(start[..<count]) { throw FileError(.malformed, GitLFS.message(path)) }
    }
    unpacking = compression == .none ? nil : try Unpacking(path, name: self.name, size: size, compression)
  }

  /// Up to a buffer's size; 0 at the end of the file.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    try unpacking?.read(into: buffer) ?? file.read(into: buffer)
  }
}

/// What a compressed file holds, unpacked as it is read.
///
/// Decoders have no limit of their own: a few kilobytes can stand for terabytes. So what comes out is counted.
final class Unpacking {
  private let api: cp_api
  private let stream: OpaquePointer
  private let name: String
  private let compression: Compression
  private let size: Int
  private var count = 0

  /// Bytes that a file of this size may hold: as much as its rows may take in memory.
  private var limit: Int {
    let (product, overflow) = size.multipliedReportingOverflow(by: Int(CP_MEMORY_PER_BYTE))
    return overflow ? .max : min(product, .max - Int(CP_MEMORY_BASE)) + Int(CP_MEMORY_BASE)
  }

  init(_ path: String, name: String, size: Int, _ compression: Compression) throws {
    api = try ParquetLibrary.api()
    (self.name, self.size, self.compression) = (name, size, compression)
    var opened: OpaquePointer?
    if let error = api.stream_open(path, compression.codec, &opened) {
      throw DatasetError("\(name) cannot be unpacked: \(ParquetLibrary.take(error))")
    }
    guard let opened else { throw DatasetError("\(name) cannot be unpacked") }
    stream = opened
  }

  deinit { api.stream_close(stream) }

  func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
    guard let start = buffer.baseAddress, !buffer.isEmpty else { return 0 }
    var read: Int64 = 0
    let bytes = start.assumingMemoryBound(to: UInt8.self)
    if let error = api.stream_read(stream, bytes, Int64(buffer.count), &read) {
      throw DatasetError(
        "\(name) cannot be unpacked as \(compression.name), it is damaged or cut short: \(ParquetLibrary.take(error))")
    }
    count += Int(read)
    guard count <= limit else {
      throw DatasetError(
        "\(name) unpacks to more than \(limit) bytes from \(size): text never packs so well. It is damaged, or made to "
          + "fill disks")
    }
    return Int(read)
  }
}

/// White space between the values of JSON.
func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 }

/// The bytes of a file that were read and not yet used.
final class ByteBuffer {
  let file: InputFile
  /// What is before `start` was used.
  private(set) var bytes: [UInt8] = []
  var start = 0
  private(set) var atEnd = false

  init(_ file: InputFile) throws {
    self.file = file
    // Some editors put a byte order mark there.
    while bytes.count < 3, try more() {}
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { start = 3 }
  }

  /// Drops what was used (indices move down by the old `start`) and reads some more; false at the end of the file.
  func more() throws -> Bool {
    if atEnd { return false }
    bytes.removeSubrange(..<start)
    start = 0
    let had = bytes.count
    bytes.append(contentsOf: repeatElement(0, count: max(1 << 16, min(had, 1 << 24))))
    let count = try bytes.withUnsafeMutableBytes { bytes in
      try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[had...]))
    }
    bytes.removeSubrange((had + count)...)
    atEnd = count == 0
    return !atEnd
  }

  /// The next byte that is no white space of JSON, everything before it used; nil at the end of the file.
  func firstAfterSpace() throws -> UInt8? {
    while true {
      let count = bytes.count
      while start < count, isSpace(bytes[start]) { start += 1 }
      if start < bytes.count { return bytes[start] }
      guard try more() else { return nil }
    }
  }
}
