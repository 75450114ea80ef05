import Checkpoint
import Foundation
import TestSupport
import Testing

/// What is left of a run that is ended from outside: nothing.
@Suite(.serialized) struct InterruptionTests {
  private let search = [
    "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss", "--eval_num_samples",
    "4", "--top_k", "4", "--memory_budget", "200KiB", "--quiet",
  ]

  /// Starts a run with places of its own and sends it a signal once a line of shell lets it; the program is `$pid`.
  private func interrupted(_ directory: String, by signal: String, when condition: String) throws -> Program.Result {
    for name in ["tmp", "cache"] {
      try FileManager.default.createDirectory(atPath: directory + "/" + name, withIntermediateDirectories: true)
    }
    let flags = prune(
      to: directory + "/made/out",
      search + ["--prune_intermediate_ckpt", directory + "/kept/scores", "--calib_num_samples", "48"])
    let words = flags.map { "'\($0)'" }.joined(separator: " ")
    // With job control, a shell's background jobs do not ignore SIGINT.
    return try Program.shell(
      "exec bash -c 'set -m; '\"$COPPICE\"' \"$@\" & pid=$!; \(condition); kill -\(signal) $pid 2>/dev/null; "
        + "{ wait $pid; } 2>/dev/null' x \(words)",
      environment: ["TMPDIR": directory + "/tmp", "COPPICE_CACHE": directory + "/cache"])
  }

  private func left(in directory: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: directory).filter {
      !["tmp", "cache", "cache/hashes", "kept", "kept/scores", "kept/scores/importance.json"].contains($0)
        && !$0.hasPrefix("kept/scores/scores-")
    }
  }

  @Test(arguments: [("TERM", 143), ("INT", 130), ("HUP", 129)])
  func aSignalLeavesNothingAndEndsTheProcess(_ signal: String, _ code: Int32) throws {
    for condition in ["sleep 0.02", "sleep 0.4", "sleep 1", "while ! ls \(Self.mark) >/dev/null 2>&1; do :; done"] {
      try withTemporaryDirectory { directory in
        let result = try interrupted(
          directory, by: signal, when: condition.replacing(Self.mark, with: directory + "/made/.out.lock"))
        // It may have been quicker; otherwise there is not even the directory that the output was to be in.
        #expect(result.code == code || result.code == 0, "\(result.error)")
        // The shell itself tells of a job that has ended before the signal.
        #expect(result.error.isEmpty || (result.code == 0 && result.error.hasPrefix("[1]")), "\(result.error)")
        let left = try left(in: directory)
        // The signal may come when the result is there and the process is not gone yet.
        if result.code == 0 || OutputDirectory.isFinished(directory + "/made/out") {
          #expect(left.allSatisfy { $0 == "made" || $0 == "made/out" || $0.hasPrefix("made/out/") }, "\(left)")
        } else {
          #expect(left.isEmpty, "\(left)")
        }
      }
    }
  }

  private static let mark = "MARK"

  @Test func aSignalThatWasIgnoredAtTheStartRemainsSo() throws {
    try withTemporaryDirectory { directory in
      let words = prune(to: directory + "/out", search).map { "'\($0)'" }.joined(separator: " ")
      let result = try Program.shell(
        "trap '' HUP; \"$COPPICE\" \(words) & pid=$!; sleep 0.3; kill -HUP $pid; sleep 0.2; kill -HUP $pid; wait $pid")
      #expect(result.code == 0, "\(result.error)")
      #expect(OutputDirectory.isFinished(directory + "/out"))
    }
  }
}
