import Foundation
import JSON
import TestSupport
import Testing

/// Text of the model's own: the same bytes whatever is computed together and whenever it was ended, and nothing overwritten.
@Suite struct CalibrateTests {
  private static let prompts = Program.data + "/chat.jsonl"

  private func arguments(_ output: String, data: String = CalibrateTests.prompts, _ more: [String] = []) -> [String] {
    [
      "calibrate", "--hf_model_name_or_path", Program.model, "--out", output, "--calib_dataset_name", data,
      "--calib_num_samples", "40", "--max_new_tokens", "24",
    ] + more
  }

  private func contents(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

  private func files(_ directory: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
  }

  private func conversations(_ path: String) throws -> [JSON] {
    try contents(path).split(separator: "\n").map { try JSON(parsing: Array($0.utf8)) }
  }

  @Test func answersAreConversationsToCalibrateOn() throws {
    try withTemporaryDirectory { directory in
      let rows = directory + "/rows.jsonl"
      let result = try Program.run(arguments(rows, ["--json"]))
      result.expectSuccess()
      #expect(result.json?["conversations"] == .int(40) && result.json?["kept"] == .int(0))
      #expect(try files(directory) == ["rows.jsonl"])
      let (asked, found) = (try conversations(Self.prompts), try conversations(rows))
      #expect(found.count == 40)
      for (one, other) in zip(found, asked) {
        let messages = one["messages"]?.array ?? []
        let asked = (other["messages"]?.array ?? []).prefix { $0["role"]?.string != "assistant" }
        #expect(Array(messages.dropLast()) == Array(asked) && !asked.isEmpty)
        #expect(messages.last?["role"]?.string == "assistant" && messages.last?["content"]?.string?.isEmpty == false)
      }
      try Program.run([
        "prune", "--hf_model_name_or_path", Program.model, "--output_hf_path", directory + "/pruned",
        "--prune_export_config", #"{"ffn_hidden_size": 256}"#, "--calib_dataset_name", rows, "--calib_num_samples", "4",
        "--seq_length", "64",
      ]).expectSuccess()
    }
  }

  @Test func theSeedDecidesAndNotWhatIsComputedTogether() throws {
    try withTemporaryDirectory { directory in
      func rows(_ name: String, _ more: [String]) throws -> String {
        let path = directory + "/\(name).jsonl"
        try Program.run(arguments(path, ["--temperature", "1.5"] + more)).expectSuccess()
        return try contents(path)
      }
      let wide = try rows("wide", [])
      #expect(try rows("narrow", ["--memory_budget", "1MiB"]) == wide)
      #expect(
        try rows("float32", ["--compute_dtype", "float32"])
          == rows("few", ["--compute_dtype", "float32", "--memory_budget", "24MiB"]))
      #expect(try rows("other", ["--seed", "1"]) != wide)
      // The first rows do not depend on how many there are.
      let fewer = try rows("fewer", ["--calib_num_samples", "7"])
      #expect(wide.hasPrefix(fewer) && fewer.split(separator: "\n").count == 7)
      let greedy = try rows("greedy", ["--temperature", "0"])
      #expect(try greedy != wide && rows("one", ["--top_k", "1"]) == greedy)
    }
  }

  @Test func aRunThatIsKilledGoesOn() throws {
    try withTemporaryDirectory { directory in
      let (whole, rows) = (directory + "/whole.jsonl", directory + "/rows.jsonl")
      let more = ["--temperature", "1.3"]
      try Program.run(arguments(whole, more)).expectSuccess()
      // One at a time takes a while.
      let line = arguments(rows, more + ["--memory_budget", "1MiB"]).map { "'\($0)'" }.joined(separator: " ")
      let killed = try Program.shell(
        """
        "$COPPICE" \(line) & pid=$!
        n=0; while [ $n -lt 6 ]; do sleep 0.02; n=$(wc -l < '\(rows).partial' 2>/dev/null || echo 0); done
        kill -9 $pid; wait $pid 2>/dev/null; [ ! -e '\(rows)' ] && wc -l < '\(rows).partial'
        """)
      let left = Int(killed.output.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
      #expect(left >= 6 && left < 41, "\(killed.output) \(killed.error)")
      // The last line of a write that was cut.
      let handle = try #require(FileHandle(forWritingAtPath: rows + ".partial"))
      try handle.seekToEnd()
      try handle.write(contentsOf: Data(#"{"row": 39, "value": {"mess"#.utf8))
      try handle.close()
      try Program.run(arguments(rows, more + ["--seed", "5"])).expectFailure(
        saying: "seed", "--fresh", "rows.jsonl.partial")
      let result = try Program.run(arguments(rows, more + ["--json"]))
      result.expectSuccess()
      #expect(try contents(rows) == contents(whole))
      #expect(try #require(result.json?["kept"]?.int) >= left - 2)
      #expect(try files(directory) == ["rows.jsonl", "whole.jsonl"])
    }
  }

  @Test func nothingOfOthersIsOverwritten() throws {
    try withTemporaryDirectory { directory in
      let rows = directory + "/rows.jsonl"
      func write(_ text: String, _ path: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path)) }
      try write("mine", rows)
      try Program.run(arguments(rows, ["--fresh"])).expectFailure(saying: "there already", "--out")
      #expect(try contents(rows) == "mine")
      try FileManager.default.removeItem(atPath: rows)
      for text in ["mine", "{\"made_of\"", "{\"messages\": []}\n", "\n"] {
        try write(text, rows + ".partial")
        let result = try Program.run(arguments(rows, ["--fresh"]))
        if text.hasPrefix("{\"made_of") {
          result.expectSuccess()
          try FileManager.default.removeItem(atPath: rows)
        } else {
          result.expectFailure(saying: "rows.jsonl.partial", "move it")
          #expect(try contents(rows + ".partial") == text)
        }
      }
      try FileManager.default.createDirectory(atPath: directory + "/d.jsonl", withIntermediateDirectories: true)
      try Program.run(arguments(directory + "/d.jsonl")).expectFailure(saying: "directory")
      try Program.run(arguments(directory + "/rows.jsonl.partial/rows.jsonl")).expectFailure()
    }
  }

  @Test func hostileConversationsAreRefusedOrPassedOver() throws {
    try withTemporaryDirectory { directory in
      let (data, rows) = (directory + "/data.jsonl", directory + "/rows.jsonl")
      func run(_ lines: [String], _ more: [String] = []) throws -> Program.Result {
        try Data(lines.joined(separator: "\n").utf8).write(to: URL(fileURLWithPath: data))
        return try Program.run(arguments(rows, data: data, more))
      }
      let good = #"{"messages": [{"role": "user", "content": "What is the main ingredient of quearetta?"}]}"#
      for wrong in [
        #"{"text": "no conversation"}"#, #"{"messages": "text"}"#, #"{"messages": [5]}"#, #"{"messages": []}"#,
        #"{"messages": [{"role": "user", "content": 5}]}"#, "{", #"{"other": 1}"#, "[1]",
      ] {
        let result = try run([good, wrong])
        result.expectFailure(saying: "data.jsonl")
        if result.code == 0 { try FileManager.default.removeItem(atPath: rows) }
        #expect(try files(directory) == ["data.jsonl"], "\(wrong)")
      }
      // Nobody asks anything, or at too great a length; null.
      let silent = [
        #"{"messages": [{"role": "assistant", "content": "Hello."}]}"#, #"{"messages": null}"#,
        #"{"messages": [{"role": "system", "content": "Be brief."}]}"#,
        #"{"messages": [{"role": "user", "content": "\#(String(repeating: "quearetta ", count: 300))"}]}"#,
      ]
      try run(silent, ["--max_prompt_tokens", "64"]).expectFailure(saying: "data.jsonl")
      let result = try run(silent + [good], ["--max_prompt_tokens", "64"])
      result.expectSuccess()
      #expect(result.error.contains("--max_prompt_tokens") && result.error.contains("1 of 40"))
      #expect(try conversations(rows).count == 1)
      for usage in [
        ["--temperature", "-1"], ["--temperature", "nan"], ["--top_p", "0"], ["--top_p", "2"], ["--top_k", "-1"],
        ["--max_new_tokens", "0"], ["--calib_num_samples", "0"], ["--max_prompt_tokens", "0"],
        ["--max_new_tokens", "9223372036854775807"],
      ] {
        #expect(try Program.run(arguments(directory + "/other.jsonl", usage)).code == 64, "\(usage)")
      }
      #expect(try Program.run(arguments("")).code == 64)
    }
  }

  /// What generation_config.json says, and what it must not.
  @Test func choicesAreThoseOfTheCheckpoint() throws {
    try withTemporaryDirectory { directory in
      func rows(_ settings: String, _ name: String) throws -> Program.Result {
        let own = directory + "/" + name
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
        let copy = try copyOfModel(in: own, changing: "generation_config.json") { $0 = Data(settings.utf8) }
        return try Program.run(arguments(own + "/rows.jsonl") + ["--hf_model_name_or_path", copy])
      }
      let greedy = directory + "/greedy.jsonl"
      try Program.run(arguments(greedy, ["--temperature", "0"])).expectSuccess()
      try rows(#"{"temperature": 0, "eos_token_id": [2047, 2045]}"#, "zero").expectSuccess()
      #expect(try contents(directory + "/zero/rows.jsonl") == contents(greedy))
      for (number, wrong) in [#"{"temperature": "hot"}"#, #"{"top_p": 7}"#, #"{"top_k": -3}"#, "[]"].enumerated() {
        try rows(wrong, "wrong\(number)").expectFailure(saying: "generation_config.json")
      }
    }
  }
}
