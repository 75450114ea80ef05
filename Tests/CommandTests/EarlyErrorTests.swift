import Foundation
import TestSupport
import Testing

/// What can be known before the first token is computed is said before it, and alone.
@Suite struct EarlyErrorTests {
  private let byHand = ["--prune_export_config", #"{"ffn_hidden_size": 256}"#]
  private let search = ["--prune_target_params", "3M", "--ss_channel_divisor", "32"]

  /// Expects the error, and nothing beside it that looks like work; nothing is left in the directory.
  private func expectEarly(
    _ directory: String, _ flags: [String], data: String? = nil, saying words: String...
  ) throws {
    let before = try FileManager.default.subpathsOfDirectory(atPath: directory).sorted()
    for more in [[], ["--dry_run"]] {
      let result = try Program.run(prune(to: directory + "/out", flags + more, data: data))
      result.expectFailure()
      for word in words { #expect(result.error.contains(word), "\(result.error)") }
      #expect(result.error.hasPrefix("Error: ") || result.error.hasPrefix("error: "), "\(result.error)")
      #expect(result.error.split(separator: "\n").count == 1, "\(result.error)")
      #expect(try FileManager.default.subpathsOfDirectory(atPath: directory).sorted() == before)
    }
  }

  @Test func questionsAreOpenedFirst() throws {
    try withTemporaryDirectory { directory in
      try expectEarly(directory, search, saying: "--mmlu_dataset")
      try expectEarly(directory, search + ["--mmlu_dataset", directory + "/gone"], saying: "/gone")
      let row = #"{"question": "q", "subject": "s", "choices": ["a", "b", "c", "d"], "answer": 1}"#
      let broken = directory + "/broken.jsonl"
      try Data("\(row)\n\(row.replacing("1}", with: "4}"))\n".utf8).write(to: URL(fileURLWithPath: broken))
      try expectEarly(directory, search + ["--mmlu_dataset", broken], saying: "broken.jsonl:2", "answer")
      // Examples come from a split of their own.
      let test = directory + "/only-test.jsonl"
      try Data("\(row)\n".utf8).write(to: URL(fileURLWithPath: test))
      try expectEarly(directory, search + ["--mmlu_dataset", test, "--few_shots", "2"], saying: "dev")
    }
  }

  @Test func rowsAreOpenedFirst() throws {
    try withTemporaryDirectory { directory in
      let loss = search + ["--prune_score_func", "neg_loss"]
      try expectEarly(directory, loss + ["--eval_dataset_name", directory + "/gone.jsonl"], saying: "gone.jsonl")
      try Data("{\"text\": \"a\"}\n{\"text\"\n".utf8).write(to: URL(fileURLWithPath: directory + "/broken.jsonl"))
      try expectEarly(directory, loss + ["--eval_dataset_name", directory + "/broken.jsonl"], saying: "broken.jsonl:2")
      // Rows that follow those of calibration, in data that is used up by them.
      try Data("{\"text\": \"a short text\"}\n".utf8).write(to: URL(fileURLWithPath: directory + "/short.jsonl"))
      try expectEarly(directory, loss, data: directory + "/short.jsonl", saying: "no text is left")
    }
  }

  @Test func aNamedDirectoryOfScoresIsTriedFirst() throws {
    try withTemporaryDirectory { directory in
      try Data().write(to: URL(fileURLWithPath: directory + "/file"))
      try expectEarly(directory, byHand + ["--prune_intermediate_ckpt", "/proc/nope"], saying: "/proc/nope")
      for wrong in ["/file", "/file/scores"] {
        try expectEarly(directory, byHand + ["--prune_intermediate_ckpt", directory + wrong], saying: directory)
      }
      // A directory that was made for it does not outlive an error that has nothing to do with it.
      try expectEarly(
        directory, search + ["--prune_intermediate_ckpt", directory + "/a/b"], saying: "--mmlu_dataset")
    }
  }

  @Test func aDefaultCacheThatFailsIsAWarning() throws {
    try withTemporaryDirectory { directory in
      try Data().write(to: URL(fileURLWithPath: directory + "/file"))
      for (number, environment) in [
        ["COPPICE_CACHE": directory + "/file/cache"], ["COPPICE_CACHE": "", "XDG_CACHE_HOME": "/proc/nowhere"],
        ["COPPICE_CACHE": "", "XDG_CACHE_HOME": "", "HOME": directory + "/file"],
      ].enumerated() {
        let result = try Program.run(prune(to: directory + "/out\(number)", byHand), environment: environment)
        result.expectSuccess()
        #expect(result.error.contains("warning:") && result.error.contains("--prune_intermediate_ckpt"))
      }
    }
  }

  @Test func anEmptyVariableIsAnUnsetOne() throws {
    try withTemporaryDirectory { directory in
      for (number, cache) in ["", "relative"].enumerated() {
        let result = try Program.run(
          prune(to: directory + "/out\(number)", byHand),
          environment: [
            "COPPICE_CACHE": "", "XDG_CACHE_HOME": cache, "HOME": directory + "/home\(number)", "TMPDIR": "",
            "OMP_WAIT_POLICY": "",
          ])
        result.expectSuccess()
        #expect(!result.error.contains("warning:"), "\(result.error)")
        let kept = try FileManager.default.contentsOfDirectory(atPath: directory + "/home\(number)/.cache/coppice")
        #expect(kept.filter { $0 != "hashes" }.count == 1)
      }
      #expect(!FileManager.default.fileExists(atPath: "/coppice"))
    }
  }

  @Test func anOutputThatCannotBeWrittenIsFoundFirst() throws {
    let result = try Program.run(prune(to: "/proc/nowhere/out", byHand))
    result.expectFailure(saying: "/proc/nowhere")
    #expect(result.error.split(separator: "\n").count == 1)
  }
}
