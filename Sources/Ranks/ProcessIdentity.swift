import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A process of this machine, told from a later one of the same number by when it was started. Linux's `/proc`.
struct ProcessIdentity: Sendable, Equatable {
  let process: Int32
  /// Clock ticks since the machine was started.
  let started: String
  /// `R` runs, `S` sleeps, `D` waits for a disk, `T` stopped, `Z` ended.
  let state: Character

  static let own = ProcessIdentity(process: getpid()) ?? ProcessIdentity(getpid(), "0", "R")

  private init(_ process: Int32, _ started: String, _ state: Character) {
    (self.process, self.started, self.state) = (process, started, state)
  }

  /// Nil when there is none.
  init?(process: Int32) {
    guard let bytes = contents("/proc/\(process)/stat") else { return nil }
    let text = String(decoding: bytes, as: UTF8.self)
    // The second field is the program's name, in parentheses that may contain anything.
    guard let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: end)...].split(separator: " ")
    guard fields.count > 19, let state = fields[0].first else { return nil }
    self.init(process, String(fields[19]), state)
  }

  /// Whether it has ended, or the number is another process's by now.
  var isGone: Bool {
    guard let now = ProcessIdentity(process: process) else { return true }
    return now.started != started || now.state == "Z" || now.state == "X"
  }

  var isStopped: Bool { ProcessIdentity(process: process).map { $0.state == "T" || $0.state == "t" } ?? false }
}

/// What tells machines, and the name spaces of processes on them, apart.
enum Machine {
  static let identity: String = {
    let boot = contents("/proc/sys/kernel/random/boot_id").map { String(decoding: $0, as: UTF8.self) } ?? ""
    return boot.filter { !$0.isWhitespace }
  }()

  /// Process numbers mean something among processes of one of these.
  static let processSpace: String = {
    var buffer = [UInt8](repeating: 0, count: 128)
    let count = readlink("/proc/self/ns/pid", &buffer, buffer.count)
    return identity + (count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : "")
  }()

  /// How many processes the system has ended for want of memory since it was started.
  static var endedForMemory: Int {
    let text = contents("/proc/vmstat").map { String(decoding: $0, as: UTF8.self) } ?? ""
    let line = text.split(separator: "\n").first { $0.hasPrefix("oom_kill ") }
    return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
  }
}

/// A file that has no size, as those of `/proc`.
private func contents(_ path: String) -> [UInt8]? {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var bytes = [UInt8](repeating: 0, count: 1 << 16)
  let count = read(descriptor, &bytes, bytes.count)
  return count >= 0 ? Array(bytes[..<count]) : nil
}
