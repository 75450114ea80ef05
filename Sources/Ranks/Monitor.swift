import Files
import Foundation
import Messages
import Synchronization
import Torch

/// Finds out whether the other ranks live, and ends this one's waiting when one does not.
///
/// Two threads. One tells the store every second that this rank lives, and reads what the others have told: it may hang when
/// the store's machine does. The other never waits for anything outside: it sees when rank 0, or on rank 0 any rank, has been
/// silent too long, when a process of this machine is gone, and what the launcher has seen. It ends the process where the
/// rank does not come to do so by itself.
final class Monitor: Sendable {
  /// Seconds between signs of life.
  private static let interval = 1.0
  /// Seconds between looks at whether somebody has told of a loss.
  private static let lookInterval = 0.25
  /// Seconds that a rank which computes may go on when another one is lost.
  private static let patience = 4.0
  /// Seconds that a rank which knows of a loss has for its end.
  private static let lastPatience = 8.0

  let peers: [Peer]
  private let rank: Int
  private let meeting: Meeting
  private let news: News?
  private let state = Mutex(State())
  private let endedForMemory = Machine.endedForMemory
  private var settings: WorldSettings { meeting.settings }
  /// Whose signs of life this rank reads: rank 0 sees to all, the others to rank 0.
  private let watched: [Int]

  init(_ meeting: Meeting, news: News?) {
    (self.meeting, self.news) = (meeting, news)
    (peers, rank) = (meeting.peers, meeting.settings.rank)
    watched = rank == 0 ? Array(1..<meeting.settings.size) : [0]
    let start = now()
    state.withLock { state in
      for rank in watched { state.signs[rank] = ([], start) }
    }
    Thread.detachNewThread { self.beat() }
    Thread.detachNewThread { self.watch() }
  }

  // MARK: What the run's thread asks

  /// Waits until a message has arrived, or has gone.
  ///
  /// - Throws: `RankError` when a rank is lost.
  func wait(for message: PendingMessage, with peer: Int, timeout: Double = .infinity) throws {
    let loss = state.withLock { state in
      if state.loss == nil { state.pending[ObjectIdentifier(message)] = message }
      return state.loss
    }
    if let loss { throw ending(loss) }
    defer { _ = state.withLock { $0.pending.removeValue(forKey: ObjectIdentifier(message)) } }
    do {
      if try message.wait(timeout: timeout) { return }
    } catch let error as TorchError {
      throw lost(peer, error.message)
    }
    throw lost(peer, "the wait for it was ended")
  }

  /// - Throws: `RankError` when a rank is known to be lost.
  func check() throws {
    if let loss = state.withLock({ $0.loss }) { throw ending(loss) }
  }

  /// A connection to a rank broke. Others may know more, and tell within two seconds.
  func lost(_ peer: Int, _ reason: String) -> RankError {
    if let loss = awaitLoss(2) { return ending(loss) }
    let detail = reason.split(whereSeparator: \.isNewline).first.map(String.init) ?? reason
    tell(
      Loss(
        peer,
        "the connection to \(peers[peer].name) broke: it ended, or the network did (\(detail)); \(advice)"))
    return ending(awaitLoss(3) ?? Loss(peer, "the connection to \(peers[peer].name) broke (\(detail)); \(advice)"))
  }

  /// Tells the others why this rank ends, unless they end already. Returns when they can know.
  func fail(_ text: String, isInterruption: Bool, patience: Double = 2) {
    let isKnown = state.withLock { state in
      state.endingSince = state.endingSince ?? now()
      return state.loss != nil || state.isLeaving
    }
    if isKnown { return }
    tell(Loss(rank, "\(peers[rank].name) \(text)", isInterruption: isInterruption))
    let end = now() + patience
    while now() < end, !state.withLock({ $0.isTold }) { pause(seconds: 0.01) }
    awaitReaders(patience)
  }

  /// Where rank 0 serves the store, what is told in it ends with rank 0: the others get time to read.
  private func awaitReaders(_ patience: Double) {
    if case .agent = settings.rendezvous { return }
    guard rank == 0 else { return }
    let culprit = state.withLock { $0.loss?.rank }
    var readers = peers.filter { $0.rank != 0 && $0.rank != culprit }
    let end = now() + patience
    while !readers.isEmpty, now() < end {
      readers.removeAll { $0.isGone || (try? meeting.store.has(Keys.knows($0.rank))) ?? true }
      if !readers.isEmpty { pause(seconds: 0.02) }
    }
  }

  /// From now on nobody is watched.
  func leave() {
    state.withLock { $0.isLeaving = true }
    let end = now() + 3
    while now() < end, state.withLock({ $0.threads > 0 }) { pause(seconds: 0.005) }
  }

  private func ending(_ loss: Loss) -> RankError {
    // The signal that ended the other one may come here as well, and is the better end.
    if loss.isInterruption { pause(seconds: 0.7) }
    let isFirst = state.withLock { state in
      defer { state.endingSince = state.endingSince ?? now() }
      return state.endingSince == nil
    }
    if isFirst { awaitReaders(3) }
    return loss.error
  }

  private func awaitLoss(_ seconds: Double) -> Loss? {
    let end = now() + seconds
    while true {
      if let loss = state.withLock({ $0.loss }) { return loss }
      if now() >= end { return nil }
      pause(seconds: 0.01)
    }
  }

  private func tell(_ loss: Loss) {
    state.withLock { state in
      guard state.report == nil, state.loss == nil else { return }
      (state.report, state.reportTime) = (loss, now())
      // Whoever slept, and finds others gone, was the reason.
      guard let stop = state.stop, now() - stop.time < 10, loss.rank != rank else { return }
      state.report = Loss(
        rank,
        """
        \(peers[rank].name) was stopped for \(spoken(stop.seconds)), and the others have not waited for it; \(advice)
        """)
    }
  }

  private func learn(_ loss: Loss) {
    let pending = state.withLock { state -> [PendingMessage] in
      guard state.loss == nil, !state.isLeaving else { return [] }
      (state.loss, state.lossTime) = (loss, now())
      return Array(state.pending.values)
    }
    for message in pending { try? message.abort() }
  }

  // MARK: Signs of life

  private func beat() {
    var (count, beaten, knows) = (0, 0.0, false)
    while !state.withLock({ $0.isLeaving }) {
      do {
        if now() - beaten >= Self.interval {
          (count, beaten) = (count + 1, now())
          try exchange(count)
        }
        try look(&knows)
        state.withLock { ($0.contact, $0.storeError) = (now(), nil) }
      } catch {
        state.withLock { $0.storeError = $0.storeError ?? ("\(error)", now()) }
      }
      let end = now() + Self.lookInterval
      while now() < end, state.withLock({ !$0.isLeaving && ($0.report == nil || $0.isTold) }) { pause(seconds: 0.02) }
      // A store that is gone is not asked without pause.
      if state.withLock({ $0.storeError != nil }) { pause(seconds: 0.1) }
    }
    state.withLock { $0.threads -= 1 }
  }

  private func exchange(_ count: Int) throws {
    let store = meeting.monitorStore
    try store.set(Keys.beat(rank), Array("\(count)".utf8))
    for rank in watched {
      let sign = try store.get(Keys.beat(rank), timeout: Meeting.callTimeout)
      state.withLock { if $0.signs[rank]?.value != sign { $0.signs[rank] = (sign, now()) } }
    }
  }

  /// Tells of a loss, and learns of one that somebody else has told of: the first is believed by all.
  private func look(_ knows: inout Bool) throws {
    let store = meeting.monitorStore
    if let report = state.withLock({ $0.isTold ? nil : $0.report }) {
      let first = try store.setFirst(Keys.loss, report.encoded)
      state.withLock { $0.isTold = true }
      learn(Loss(parsing: first))
    }
    guard !knows, try state.withLock({ $0.isTold }) || store.has(Keys.loss) else { return }
    learn(Loss(parsing: try store.get(Keys.loss, timeout: Meeting.callTimeout)))
    try store.set(Keys.knows(rank), [1])
    knows = true
  }

  // MARK: The watch

  private func watch() {
    var last = now()
    var gone: [Int: Double] = [:]
    var looked = 0.0
    while !state.withLock({ $0.isLeaving }) {
      pause(seconds: 0.1)
      let time = now()
      if time - last > 5 { wakeUp(after: time - last, time) }
      last = time
      if let end = news?.next(), peers.indices.contains(end.rank) {
        tell(Loss(end.rank, "\(peers[end.rank].name) \(end.text); \(advice)"))
      }
      if time - looked > 0.3 {
        looked = time
        lookForProcesses(&gone, time)
        lookForSilence(time)
      }
      let (loss, report, since) = state.withLock { ($0.loss, $0.report, $0.reportTime) }
      // Nobody could be told: then at least this rank goes by it.
      if loss == nil, let report, time - since > 2 { learn(report) }
      endIfNeeded(time)
    }
    state.withLock { $0.threads -= 1 }
  }

  /// After a time in which this process did nothing. Perhaps all were stopped together, and go on together.
  private func wakeUp(after seconds: Double, _ time: Double) {
    state.withLock { state in
      state.contact = time
      for rank in watched { state.signs[rank]?.time = time }
      // The others count from this rank's last sign of life, which was before it stopped.
      if seconds > settings.silenceTimeout / 2 { state.stop = (seconds, time) }
    }
  }

  private func lookForProcesses(_ gone: inout [Int: Double], _ time: Double) {
    for peer in peers where peer.rank != rank && peer.isGone {
      let since = gone[peer.rank] ?? time
      gone[peer.rank] = since
      // What it had to say is on its way perhaps, or what its launcher has.
      guard time - since > (news == nil ? 1 : 2) else { continue }
      let memory =
        Machine.endedForMemory > endedForMemory
        ? "; the system has ended a process for want of memory meanwhile" : ""
      tell(Loss(peer.rank, "\(peer.name) was killed or crashed: its process is gone\(memory); \(advice)"))
    }
  }

  private func lookForSilence(_ time: Double) {
    let state = state.withLock { $0 }
    let limit = settings.silenceTimeout
    for (rank, sign) in state.signs.sorted(by: { $0.key < $1.key }) where time - sign.time > limit {
      // Silence of everybody is the store's.
      guard time - state.contact < limit / 2 || self.rank != 0 else { break }
      let why = peers[rank].identity.map { $0.isStopped ? ": it is stopped (SIGSTOP)" : "" } ?? ""
      let where_ = peers[rank].machine == peers[self.rank].machine ? "" : ", or the network to it is cut"
      return tell(
        Loss(
          rank,
          """
          \(peers[rank].name) has not answered for \(spoken(time - sign.time))\(why)\(why.isEmpty ? where_ : ""); \(advice)
          """))
    }
    let silent = time - state.contact > limit
    let broken = state.storeError.map { time - $0.since > 3 } ?? false
    guard silent || broken, state.loss == nil else { return }
    let reason = silent ? "has not answered for \(spoken(time - state.contact))" : "is gone"
    if case .agent(let host, let port) = settings.rendezvous {
      tell(Loss(nil, "the launcher's store at \(host):\(port) \(reason); \(advice)"))
    } else if rank != 0 {
      tell(Loss(0, "\(peers[0].name) \(silent ? reason : "ended or cannot be reached any more"); \(advice)"))
    }
  }

  /// Ends the process where its run cannot or does not do so itself.
  private func endIfNeeded(_ time: Double) {
    guard settings.endsProcess else { return }
    let (loss, lossTime, endingSince) = state.withLock { ($0.loss, $0.lossTime, $0.endingSince) }
    guard let loss else { return }
    let isOver = endingSince.map { time - $0 > Self.lastPatience } ?? (time - lossTime > Self.patience)
    if isOver { Unfinished.leave(1, saying: "Error: \(loss.text)") }
  }
}
