import Files
import Foundation
import Ranks
import Synchronization

/// Processes of this program that do one run together, started and waited for by this one.
///
/// Rank 0 has the terminal. What the others say is shown only when they fail.
final class RankProcesses: Sendable {
  private let count: Int
  private let state: Mutex<[RankProcess]>
  /// The signal that is to end this process.
  private let interruption = Mutex<Int32?>(nil)

  /// Descriptors of rank 0.
  private static let (listener, news): (Int32, Int32) = (10, 11)
  /// Seconds that ranks have to end by themselves after one has failed, or rank 0 has ended.
  private static let patience = 25.0
  /// Seconds that a rank has for its end once it was told to.
  private static let lastPatience = 4.0

  init(_ count: Int) {
    self.count = count
    state = Mutex([])
  }

  /// Starts the ranks, and ends this process as the run has ended: with 0, or with the code of the rank that failed first.
  ///
  /// - Throws: `RankError` where they cannot be started.
  func run() throws -> Never {
    let (socket, port) = try loopbackListener()
    let newsPipe = try Self.makePipe()
    // Rank 0 may have ended: then nobody reads.
    let threads = max(1, ProcessInfo.processInfo.activeProcessorCount / count)
    for rank in 0..<count {
      do { try start(rank, port: port, socket: socket, news: newsPipe.read, threads: threads) } catch {
        signalAll(SIGKILL)
        throw error
      }
    }
    close(socket)
    close(newsPipe.read)
    Interruption.before { self.interrupt($0) }
    watch(news: newsPipe.write)
    finish()
  }

  private func start(_ rank: Int, port: UInt16, socket: Int32, news: Int32, threads: Int) throws {
    typealias Own = WorldSettings.Own
    var environment = ProcessInfo.processInfo.environment
    environment[Own.rank] = "\(rank)"
    environment[Own.size] = "\(count)"
    environment[Own.port] = "\(port)"
    environment[Own.job] = "own-\(getpid())"
    environment[Own.parent] = "\(getpid())"
    if environment["OMP_NUM_THREADS", default: ""].isEmpty { environment["OMP_NUM_THREADS"] = "\(threads)" }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    var output: (read: Int32, write: Int32)?
    if rank == 0 {
      environment[Own.listener] = "\(Self.listener)"
      environment[Own.news] = "\(Self.news)"
      posix_spawn_file_actions_adddup2(&actions, socket, Self.listener)
      posix_spawn_file_actions_adddup2(&actions, news, Self.news)
    } else {
      let pipe = try Self.makePipe()
      output = pipe
      posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
      posix_spawn_file_actions_adddup2(&actions, pipe.write, STDOUT_FILENO)
      posix_spawn_file_actions_adddup2(&actions, pipe.write, STDERR_FILENO)
    }
    var words = CommandLine.arguments.map { strdup($0) } + [nil]
    var variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for word in words + variables { free(word) } }
    var process: pid_t = 0
    let code = posix_spawn(&process, Self.program, &actions, nil, &words, &variables)
    if let output { close(output.write) }
    guard code == 0 else {
      if let output { close(output.read) }
      throw RankError(.rendezvous, "rank \(rank) of \(count) cannot be started: \(String(cString: strerror(code)))")
    }
    let started = RankProcess(rank: rank, process: process, output: output?.read)
    state.withLock { $0.append(started) }
  }

  /// This program's file.
  private static var program: String {
    FileManager.default.fileExists(atPath: "/proc/self/exe") ? "/proc/self/exe" : CommandLine.arguments[0]
  }

  /// Not inherited, above the descriptors that rank 0 is given, and read without waiting.
  private static func makePipe() throws -> (read: Int32, write: Int32) {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else {
      throw RankError(.rendezvous, "no pipe to a rank: \(String(cString: strerror(errno)))")
    }
    let moved = ends.map { fcntl($0, F_DUPFD_CLOEXEC, 32) }
    for end in ends { close(end) }
    guard let read = moved.first, let write = moved.last, read >= 0, write >= 0 else {
      throw RankError(.rendezvous, "no pipe to a rank: too many files are open; raise the limit (ulimit -n)")
    }
    _ = fcntl(read, F_SETFL, O_NONBLOCK)
    return (read, write)
  }

  private func signalAll(_ number: Int32) {
    state.withLock { for process in $0 where process.end == nil { kill(process.process, number) } }
  }

  /// On the thread of signals: the ranks are to end as this process does, and before it.
  private func interrupt(_ number: Int32) {
    interruption.withLock { $0 = number }
    signalAll(number)
    signalAll(SIGCONT)
    let end = Date() + 10
    while Date() < end, state.withLock({ $0.contains { $0.end == nil } }) { usleep(10_000) }
    signalAll(SIGKILL)
  }

  /// Returns when all have ended.
  private func watch(news: Int32) {
    var firstEnd: Date?
    var told: Date?
    while state.withLock({ $0.contains { $0.end == nil } }) {
      var ready = state.withLock { processes in
        processes.filter { $0.end == nil }.compactMap(\.output).map {
          pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
      }
      if poll(&ready, nfds_t(ready.count), 50) < 0 { usleep(50_000) }
      // An end that is closed is ready at once, over and over.
      if ready.contains(where: { $0.revents & Int16(POLLHUP) != 0 }) { usleep(5000) }
      let failed = state.withLock { processes in
        processes.indices.compactMap { index in processes[index].look() ? processes[index] : nil }
      }
      for process in failed {
        let line = News.line(rank: process.rank, signal: process.end?.signal, code: process.end?.code ?? 0)
        _ = Array(line.utf8).withUnsafeBytes { write(news, $0.baseAddress, $0.count) }
      }
      // Rank 0 is the last to go.
      if !failed.isEmpty || state.withLock({ $0[0].end != nil }) { firstEnd = firstEnd ?? Date() }
      guard let firstEnd, interruption.withLock({ $0 }) == nil else { continue }
      let living = state.withLock { $0.filter { $0.end == nil } }
      if let told {
        if Date() > told + Self.lastPatience { signalAll(SIGKILL) }
      } else if Date() > firstEnd + Self.patience || living.allSatisfy(\.isStopped) {
        told = Date()
        signalAll(SIGTERM)
        signalAll(SIGCONT)
      }
    }
  }

  private func finish() -> Never {
    // The thread of signals ends this process.
    while interruption.withLock({ $0 }) != nil { pause() }
    let processes = state.withLock { $0 }
    let failed = processes.filter(\.hasFailed).sorted { ($0.order, $0.rank) < ($1.order, $1.rank) }
    guard let first = failed.first else { Unfinished.leave(0) }
    let text = Self.text(of: first, rank0: processes[0])
    if !text.isEmpty { try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8)) }
    Unfinished.leave(first.end?.signal == nil ? first.end?.code ?? 1 : 1)
  }

  /// What is still to be said. Rank 0, where it has ended by itself, has said why, whichever rank it was.
  private static func text(of first: RankProcess, rank0: RankProcess) -> String {
    let hasSaid = rank0.hasFailed && rank0.end?.signal == nil
    var lines = first.said(withError: !hasSaid).map { "rank \(first.rank): \($0)" }
    if !hasSaid, let number = first.end?.signal {
      lines.append(
        "Error: rank \(first.rank) (process \(first.process)) \(ended(by: number)); run the same command again: it goes on "
          + "from what is kept")
    } else if !hasSaid, lines.isEmpty {
      lines.append("Error: rank \(first.rank) (process \(first.process)) ended with code \(first.end?.code ?? 1)")
    }
    return lines.joined(separator: "\n")
  }
}

/// One of the processes.
struct RankProcess {
  let rank: Int
  let process: pid_t
  /// Where its output is read; nil for the one that has the terminal.
  let output: Int32?
  private var bytes: [UInt8] = []
  private(set) var end: (signal: Int32?, code: Int32)?
  private(set) var isStopped = false
  /// When it ended.
  private(set) var order = Double.infinity

  /// Bytes of output that are kept, the last ones.
  private static let limit = 1 << 16

  init(rank: Int, process: pid_t, output: Int32?) { (self.rank, self.process, self.output) = (rank, process, output) }

  var hasFailed: Bool { end.map { $0.signal != nil || $0.code != 0 } ?? false }

  /// Reads what it has said, and sees whether it has ended.
  ///
  /// - Returns: whether it has failed since the last look.
  mutating func look() -> Bool {
    read()
    guard end == nil else { return false }
    var status: Int32 = 0
    guard waitpid(process, &status, WNOHANG | WUNTRACED | WCONTINUED) == process else { return false }
    switch (status & 0x7F, status) {
    case (_, 0xFFFF): isStopped = false
    case (0x7F, _): isStopped = true
    case (0, _): end = (nil, status >> 8 & 0xFF)
    case (let signal, _): end = (signal, 0)
    }
    guard end != nil else { return false }
    order = Date().timeIntervalSince1970
    read()
    return hasFailed
  }

  private mutating func read() {
    guard let output else { return }
    var buffer = [UInt8](repeating: 0, count: 1 << 14)
    while true {
      let count = Foundation.read(output, &buffer, buffer.count)
      guard count > 0 else { return }
      bytes += buffer[..<count]
      if bytes.count > 2 * Self.limit { bytes.removeFirst(bytes.count - Self.limit) }
    }
  }

  /// The lines of its output, without the error that it ended with where others have said that.
  func said(withError: Bool) -> [String] {
    let lines = String(decoding: bytes.suffix(Self.limit), as: UTF8.self).split(whereSeparator: \.isNewline).map(
      String.init)
    guard !withError, let error = lines.lastIndex(where: { $0.hasPrefix("Error: ") }) else { return lines }
    return Array(lines[..<error])
  }
}
