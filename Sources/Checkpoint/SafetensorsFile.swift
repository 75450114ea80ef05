import Files
import Synchronization

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
/// has shrunk; between that call and the use of its bytes, a program that has called `Interruption.install` ends with the
/// same message. `checkUnchanged` finds out afterwards whether the file was written to meanwhile.
public final class SafetensorsFile: Sendable {
  public let path: String
  /// Bytes in the file when it was opened.
  public let size: Int
  public let header: SafetensorsHeader
  private let file: OpenFile
  private nonisolated(unsafe) let base: UnsafeMutableRawPointer
  private let watch: MappedWatch
  private let identity: FileIdentity
  /// Of the contents, once it was asked for.
  private let hash = Mutex<String?>(nil)

  /// In the order of their bytes in the file.
  public var tensors: [TensorEntry] { header.tensors }

  /// - Throws: `CheckpointError` when the file cannot be opened or breaks a rule of the format.
  public init(path: String) throws {
    let (file, size) = try OpenFile.reading(path)
    guard size >= 8 else {
      throw CheckpointError(
        .malformed, "\(path) has \(size) bytes and cannot be a safetensors file: copy or download it again")
    }
    guard let identity = FileIdentity(descriptor: file.descriptor), identity.size == size else {
      throw CheckpointError(.malformed, "\(path) is being written by something else: wait until it is whole")
    }
    guard let mapped = mmap(nil, size, PROT_READ, MAP_PRIVATE, file.descriptor, 0), mapped != MAP_FAILED else {
      throw systemError("map", path)
    }
    watch = MappedWatch(mapped, count: size, path: path)
    do {
      let bytes = UnsafeRawBufferPointer(start: mapped, count: size)
      if GitLFS.isPointer(bytes) { throw CheckpointError(.malformed, GitLFS.message(path)) }
      header = try SafetensorsHeader(start: bytes, fileSize: size, file: path)
    } catch {
      munmap(mapped, size)
      throw error
    }
    self.path = path
    self.size = size
    self.file = file
    self.identity = identity
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
    guard now >= size else { throw shrunk(to: now) }
    return UnsafeRawBufferPointer(start: base + entry.range.lowerBound, count: entry.range.count)
  }

  private func shrunk(to now: Int) -> CheckpointError {
    CheckpointError(
      .malformed,
      "\(path) has shrunk from \(size) to \(now) bytes since it was opened: something else writes to it. Copy or "
        + "download it again, then run the same command again")
  }

  /// SHA-256 of the file's contents, in hexadecimal.
  ///
  /// - Parameter onlyKnown: answer nil rather than read a large file.
  /// - Throws: `CheckpointError` when it cannot be read or changes meanwhile.
  func sha256(onlyKnown: Bool, progress: (_ done: Int) -> Void) throws -> String? {
    if let known = hash.withLock({ $0 }) { return known }
    do {
      let found = try ContentHash.sha256(
        descriptor: file.descriptor, path: path, onlyKnown: onlyKnown, progress: progress)
      try checkUnchanged()
      hash.withLock { $0 = found }
      return found
    } catch let error as ContentHash.Failure { throw CheckpointError(.io, "\(path) \(error.reason)") }
  }

  /// Takes over what another process found.
  func learn(sha256: String) { hash.withLock { $0 = sha256 } }

  /// Throws when the file at the path is no longer the one that was opened, as it was then.
  ///
  /// Attributes and links may change: where only the time of that has moved and the contents' hash is known, the contents are
  /// hashed again.
  public func checkUnchanged() throws {
    let now = FileIdentity(path: path)
    if now == identity { return }
    if let now, now.size < size { throw shrunk(to: now.size) }
    if let now, now.hasContents(of: identity) {
      guard let before = hash.withLock({ $0 }) else { return }
      let again = try? ContentHash.sha256(descriptor: file.descriptor, path: path, cache: nil)
      if again == before { return }
    }
    throw CheckpointError(
      .malformed,
      "\(path) was \(now == nil ? "removed" : "changed") while it was used: something else writes there. Nothing made of it "
        + "is kept or published; see that the file is whole, then run the same command again")
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
