/// Numbers of ranks as people write them: `0`, `0 and 2`, `0-3 and 7`.
package func list(_ ranks: some Sequence<Int>) -> String {
  var runs: [(first: Int, last: Int)] = []
  for rank in Set(ranks).sorted() {
    if let run = runs.last, run.last + 1 == rank { runs[runs.count - 1].last = rank } else { runs.append((rank, rank)) }
  }
  let words = runs.flatMap { run in
    switch run.last - run.first {
    case 0: ["\(run.first)"]
    case 1: ["\(run.first)", "\(run.last)"]
    default: ["\(run.first)-\(run.last)"]
    }
  }
  guard words.count > 1, let last = words.last else { return words.first ?? "" }
  return words.dropLast().joined(separator: ", ") + " and " + last
}

/// The same with the word before them.
func named(_ ranks: some Collection<Int>) -> String { (ranks.count == 1 ? "rank " : "ranks ") + list(ranks) }

/// A time as people say it.
func spoken(_ seconds: Double) -> String {
  let whole = Int(max(0, min(seconds, 1e9)).rounded())
  return whole == 1 ? "1 second" : "\(whole) seconds"
}

/// What a process that a signal has ended died of.
func spoken(signal: Int32) -> String {
  let names: [Int32: String] = [
    1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 5: "SIGTRAP", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE",
    9: "SIGKILL", 11: "SIGSEGV", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM",
  ]
  return names[signal] ?? "signal \(signal)"
}

/// What is said to everybody who may start the run again.
let advice = "run the same command again: it goes on from what is kept"
