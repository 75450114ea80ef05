import Files
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A destination that is this process's alone, from before the work to its end: other processes are told who has it.
///
/// The claim is the file `.NAME.lock` beside the destination, locked; it says who holds it. The kernel lets go of the lock
/// when the process ends, however that happens, so that a file left by a dead process is no obstacle.
public final class OutputClaim: Sendable {
  /// The destination, symbolic links to it resolved.
  public let path: String
  private let parent: String
  private let name: String
  private let lock: OutputLock
  /// Directories above the destination that were made for it, the topmost first.
  private let made: [String]

  /// Finds out whether something could be put at `path` (it is free, and its directory takes files) and keeps other
  /// processes from it while this object lives. What dead processes left there of this destination is removed.
  ///
  /// - Parameter path: must not exist, or be an empty directory. Directories above it are made, and removed again if nothing
  ///   is put there.
  /// - Throws: `CheckpointError`: `.exists` when something is at the destination; `.busy` with who holds it when a live
  ///   process does; `.io`.
  public init(_ path: String) throws {
    let (parent, name) = try split(OutputDirectory.resolved(path))
    let destination = join(parent, name)
    try OutputDirectory.refuseOccupied(destination)
    let made = try makeDirectories(parent)
    do {
      let lock = try OutputLock(join(parent, ".\(name).lock"), of: destination)
      do {
        // Once more under the lock: another process may just have finished the same.
        try OutputDirectory.refuseOccupied(destination)
        if lock.isHeld {
          for leftover in try names(in: parent) where leftover.hasPrefix(".\(name).partial-") {
            removeTree(join(parent, leftover))
          }
        }
        Unfinished.remove(try makeUnfinishedDirectory(join(parent, ".\(name).partial-\(getpid())")))
      } catch {
        lock.remove()
        throw error
      }
      self.lock = lock
    } catch {
      for directory in made.reversed() { Unfinished.remove(directory) }
      throw error
    }
    (self.path, self.parent, self.name, self.made) = (destination, parent, name, made)
  }

  /// As `init`; nil when something is at the destination already.
  public static func unlessOccupied(_ path: String) throws -> OutputClaim? {
    do { return try OutputClaim(path) } catch let error as CheckpointError where error.kind == .exists { return nil }
  }

  deinit {
    lock.remove()
    for directory in made.reversed() { Unfinished.remove(directory) }
  }

  /// Builds a directory beside the destination and renames it there when all of it is on the disk.
  ///
  /// While it is built it is called `.NAME.partial-PID-N`; on an error everything written is removed again.
  ///
  /// - Parameter build: gets the path of an empty directory to fill.
  /// - Throws: `CheckpointError`: `.exists` when something has come to the destination meanwhile; `.io`. Whatever `build`
  ///   throws.
  public func publish(build: (_ temporary: String) throws -> Void) throws {
    let temporary = try makeUnfinishedDirectory(join(parent, ".\(name).partial-\(getpid())"))
    do {
      try build(temporary)
      try synchronizeTree(temporary)
      try Unfinished.finish(temporary) {
        guard rename(temporary, path) == 0 else {
          if [EEXIST, ENOTEMPTY, ENOTDIR, EISDIR].contains(errno) { throw OutputDirectory.occupied(path) }
          throw systemError("move the finished output to", path)
        }
      }
    } catch {
      Unfinished.remove(temporary)
      throw error
    }
    try synchronizeDirectory(parent)
  }

  /// Throws when the destination's disk has less room than `bytes`.
  public func requireSpace(_ bytes: Int) throws { try Checkpoint.requireSpace(bytes, in: parent) }
}

/// The lock of one destination.
private struct OutputLock {
  private let path: String
  private let descriptor: Int32
  /// False where the file system has no locks; leftovers are then nobody's to remove.
  let isHeld: Bool

  private enum Obstacle: Error {
    /// The file that was locked is no longer the one at the path: its last holder has removed it.
    case gone
    case held(Int32)
    case noLocks(Int32)
  }

  /// - Throws: `CheckpointError`: `.busy` with who holds it, `.io`.
  init(_ path: String, of destination: String) throws {
    while true {
      do {
        descriptor = try Unfinished.create(path, .file) { try Self.lock(path) }
        (self.path, isHeld) = (path, true)
        Self.sign(descriptor)
        return
      } catch Obstacle.gone {
        continue
      } catch Obstacle.noLocks(let descriptor) {
        (self.path, self.descriptor, isHeld) = (path, descriptor, false)
        return
      } catch Obstacle.held(let descriptor) {
        defer { close(descriptor) }
        throw CheckpointError(
          .busy,
          "\(destination) is being written by \(Self.holder(descriptor)) (it holds \(path)): wait for it, or choose "
            + "another output")
      }
    }
  }

  func remove() {
    if isHeld { Unfinished.remove(path) }
    close(descriptor)
  }

  private static func lock(_ path: String) throws -> Int32 {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0o666)
    guard descriptor >= 0 else { throw systemError("create", path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      throw errno == EWOULDBLOCK ? Obstacle.held(descriptor) : Obstacle.noLocks(descriptor)
    }
    guard let own = FileIdentity(descriptor: descriptor), let present = FileIdentity(path: path),
      own.inode == present.inode, own.device == present.device
    else {
      close(descriptor)
      throw Obstacle.gone
    }
    return descriptor
  }

  /// Writes who holds the lock, for others to read: process, machine, time.
  private static func sign(_ descriptor: Int32) {
    var host = [CChar](repeating: 0, count: 256)
    gethostname(&host, host.count - 1)
    var now = time(nil)
    var parts = tm()
    gmtime_r(&now, &parts)
    var text = [CChar](repeating: 0, count: 64)
    strftime(&text, text.count, "%Y-%m-%d %H:%M:%S UTC", &parts)
    let bytes = Array("\(getpid()) \(string(host)) \(string(text))\n".utf8)
    ftruncate(descriptor, 0)
    _ = bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) }
  }

  /// Who holds a lock, in words.
  private static func holder(_ descriptor: Int32) -> String {
    var bytes = [UInt8](repeating: 0, count: 512)
    let count = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
    let text = String(decoding: bytes.prefix(max(count, 0)).prefix { $0 >= 32 }, as: UTF8.self)
    let words = text.split(separator: " ", maxSplits: 2)
    // Empty for the moment between locking and signing.
    guard words.count == 3, Int(words[0]) != nil else { return "another process" }
    return "process \(words[0]) on \(words[1]) since \(words[2])"
  }

  private static func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
