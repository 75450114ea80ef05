#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// One safetensors file, mapped into memory; its header checked before anything else is believed.
///
/// The mapping is read-only and lives as long as this object. A file that is cut while it is mapped cannot be read
/// safely by anyone: the system answers with SIGBUS. `bytes(of:)` looks at the file's size first and throws when it
/// has shrunk, which leaves only the time between that call and the use of its bytes. Replacing a file by rename,
/// as every careful writer does, changes nothing here: the mapping keeps the old file.
public final class SafetensorsFile: Sendable {
  public let path: String
  /// Bytes in the file when it was opened.
  public let size: Int
  public let header: SafetensorsHeader
  private let file: FileHandle
  private nonisolated(unsafe) let base: UnsafeMutableRawPointer

  /// In the order of their bytes in the file.
  public var tensors: [TensorEntry] { header.tensors }

  /// - Throws: `CheckpointError` when the file cannot be opened or breaks a rule of the format.
  public init(path: String) throws {
    let (file, size) = try FileHandle.reading(path)
    guard size >= 8 else {
      throw CheckpointError(
        .malformed, "\(path) has \(size) bytes and cannot be a safetensors file: copy or download it again")
    }
    guard let mapped = mmap(nil, size, PROT_READ, MAP_PRIVATE, file.descriptor, 0), mapped != MAP_FAILED else {
      throw systemError("map", path)
    }
    do {
      header = try SafetensorsHeader(
        start: UnsafeRawBufferPointer(start: mapped, count: size), fileSize: size, file: path)
    } catch {
      munmap(mapped, size)
      throw error
    }
    self.path = path
    self.size = size
    self.file = file
    base = mapped
  }

  deinit { munmap(base, size) }

  /// The bytes of one of this file's entries, valid while this object lives. They may be aligned to nothing: load
  /// elements with `loadUnaligned` or copy them.
  ///
  /// - Throws: `CheckpointError` when the file is shorter than it was when it was opened.
  public func bytes(of entry: TensorEntry) throws -> UnsafeRawBufferPointer {
    guard entry.range.lowerBound >= 0, entry.range.upperBound <= size else {
      throw CheckpointError(.missing, "\(path) does not hold tensor \"\(entry.name)\"")
    }
    let now = try file.size()
    guard now >= size else {
      throw CheckpointError(
        .malformed, "\(path) has shrunk from \(size) to \(now) bytes since it was opened: something else writes to it")
    }
    return UnsafeRawBufferPointer(start: base + entry.range.lowerBound, count: entry.range.count)
  }

  /// Tells the system to start reading these bytes. May take milliseconds where they are many.
  func willNeed(_ range: Range<Int>) {
    let page = Self.pageSize
    // Linux starts to read no more than its window for reading ahead, however much is asked for at once.
    let step = 1 << 19
    for start in stride(from: range.lowerBound / page * page, to: range.upperBound, by: step) {
      madvise(base + start, min(step, range.upperBound - start), MADV_WILLNEED)
    }
  }

  /// Gives back the memory of the whole pages inside a range; they are read again when they are touched again.
  func release(_ range: Range<Int>) {
    let page = Self.pageSize
    let start = (range.lowerBound + page - 1) / page * page
    // The last page of the file belongs to it alone, even where the file ends inside the page.
    let end = range.upperBound == size ? size : range.upperBound / page * page
    if end > start { madvise(base + start, end - start, MADV_DONTNEED) }
  }

  private static let pageSize = max(1, Int(sysconf(Int32(_SC_PAGESIZE))))
}
