import Foundation
import Synchronization

/// A file without a name, for what does not fit the memory; it is gone with the process. It is divided into slots that are used
/// again.
public final class ScratchFile {
  public struct Slot: Sendable {
    fileprivate let offset: Int
    public let byteCount: Int
  }

  private let descriptor: Int32
  private let directory: String
  private let failure: (_ doing: String, _ reason: String) -> any Error
  private var end = 0
  private var free: [Int: [Int]] = [:]

  /// - Parameters:
  ///   - name: what the file is called until its name is gone.
  ///   - failure: makes an error of what was to be done, such as "write", and of why it was not.
  /// - Throws: what `failure` makes, as all of this.
  public init(
    directory: String, name: String, failure: @escaping (_ doing: String, _ reason: String) -> any Error
  ) throws {
    (self.directory, self.failure) = (directory, failure)
    // mkstemp puts six characters of its own in the place of these.
    var path = Array((directory + "/\(name)-" + String(repeating: "X", count: 6)).utf8CString)
    // No signal comes before its name is gone.
    descriptor = Unfinished.uninterrupted {
      let descriptor = mkstemp(&path)
      if descriptor >= 0 { unlink(path) }
      return descriptor
    }
    guard descriptor >= 0 else { throw error("make a file") }
  }

  deinit { close(descriptor) }

  /// Room for so many bytes, zeros to begin with, which is there from now on: a full disk is found here.
  public func allocate(_ byteCount: Int) throws -> Slot {
    #if canImport(Glibc)
      while byteCount > 0 {
        let code = posix_fallocate(descriptor, off_t(end), off_t(byteCount))
        if code == EINTR { continue }
        // Some file systems cannot reserve.
        guard code == 0 || code == EOPNOTSUPP || code == EINVAL else {
          throw failure("reserve \(byteCount) bytes", String(cString: strerror(code)))
        }
        break
      }
    #endif
    let slot = Slot(offset: end, byteCount: byteCount)
    end += byteCount
    // What cannot be reserved is at least there to be read.
    guard ftruncate(descriptor, off_t(end)) == 0 else { throw error("make room for \(byteCount) bytes") }
    return slot
  }

  public func free(_ slot: Slot) { free[slot.byteCount, default: []].append(slot.offset) }

  /// A new slot with these bytes.
  public func write(_ bytes: UnsafeRawBufferPointer) throws -> Slot {
    let slot = Slot(offset: free[bytes.count]?.popLast() ?? end, byteCount: bytes.count)
    end = max(end, slot.offset + bytes.count)
    try write(bytes, to: slot, at: 0)
    return slot
  }

  /// - Parameter start: in bytes, from the slot's beginning.
  public func write(_ bytes: UnsafeRawBufferPointer, to slot: Slot, at start: Int) throws {
    precondition(start >= 0 && start + bytes.count <= slot.byteCount, "more bytes than the slot has")
    try move(bytes.count, "write") { [descriptor] done, count in
      pwrite(descriptor, bytes.baseAddress.map { $0 + done }, count, off_t(slot.offset + start + done))
    }
  }

  /// Fills memory from a slot.
  ///
  /// - Parameter start: in bytes, from the slot's beginning.
  public func read(_ slot: Slot, at start: Int = 0, into memory: UnsafeMutableRawBufferPointer) throws {
    precondition(start >= 0 && start + memory.count <= slot.byteCount, "more bytes than the slot has")
    try move(memory.count, "read") { [descriptor] done, count in
      pread(descriptor, memory.baseAddress.map { $0 + done }, count, off_t(slot.offset + start + done))
    }
  }

  /// Bytes that one thread moves: the file's pages are in memory for the most part, and copying them is work for all cores.
  private static let share = 4 << 20

  private func move(_ all: Int, _ doing: String, _ some: @escaping (_ done: Int, _ count: Int) -> Int) throws {
    let failure = Mutex<Int32?>(nil)
    nonisolated(unsafe) let some = some
    DispatchQueue.concurrentPerform(iterations: (all + Self.share - 1) / Self.share) { number in
      var done = number * Self.share
      let end = min(done + Self.share, all)
      while done < end, failure.withLock({ $0 == nil }) {
        let count = some(done, end - done)
        if count < 0, errno == EINTR { continue }
        if count <= 0 {
          let code = errno
          failure.withLock { $0 = code }
          return
        }
        done += count
      }
    }
    if let code = failure.withLock({ $0 }) { throw self.failure(doing, String(cString: strerror(code))) }
  }

  private func error(_ doing: String) -> any Error { failure(doing, String(cString: strerror(errno))) }
}
