import Foundation
import JSON
import Minitron
import TestSupport
import Testing

/// `coppice cache`: what runs have kept is listed and removed, and nothing else is touched.
@Suite struct CacheTests {
  private let manager = FileManager.default

  private func cache(_ directory: String, _ arguments: String...) throws -> Program.Result {
    try Program.run(["cache"] + arguments, environment: ["COPPICE_CACHE": directory])
  }

  /// Scores as runs keep them, `days` old.
  private func keep(_ name: String, in directory: String, days: Double = 0, other files: [String] = []) throws {
    let path = directory + "/" + name
    try manager.createDirectory(atPath: path, withIntermediateDirectories: true)
    for file in ["importance.json", "scores-0123456789abcdef.json"] + files {
      try Data(count: 1000).write(to: URL(fileURLWithPath: path + "/" + file))
      try manager.setAttributes(
        [.modificationDate: Date(timeIntervalSinceNow: -days * 86_400)], ofItemAtPath: path + "/" + file)
    }
  }

  private func names(_ directory: String) throws -> [String] {
    try manager.contentsOfDirectory(atPath: directory).sorted()
  }

  @Test func whatARunKeepsIsListedAndRemoved() throws {
    try withTemporaryDirectory { directory in
      let kept = directory + "/cache"
      let run = prune(to: directory + "/out", ["--prune_export_config", #"{"num_layers": 6}"#])
      try Program.run(run, environment: ["COPPICE_CACHE": kept]).expectSuccess()
      let list = try cache(kept, "ls", "--json")
      list.expectSuccess()
      let entry = try #require(list.json?["scores"]?.array?.first)
      let fingerprint = try #require(entry["fingerprint"]?.string)
      #expect(entry["model"]?.string?.hasSuffix("/Examples/model") == true)
      #expect(entry["calib_dataset_name"]?.array?.first?.string?.hasSuffix("calib.jsonl") == true)
      #expect(entry["made_of"]?["seq_length"]?.string == "64" && entry["in_use"]?.bool == false)
      #expect(entry["path"]?.string == kept + "/" + fingerprint)
      #expect(try #require(entry["bytes"]?.int) > 1000 && #require(entry["age_seconds"]?.int) < 600)
      let table = try cache(kept, "ls")
      table.expectSuccess()
      for text in [fingerprint, "model", "calib.jsonl", "4 × 64", kept] { #expect(table.output.contains(text)) }
      let removed = try cache(kept, "rm", String(fingerprint.prefix(6)), "--json")
      removed.expectSuccess()
      #expect(removed.json?["removed"]?.array?.compactMap(\.string) == [fingerprint])
      #expect(!manager.fileExists(atPath: kept + "/" + fingerprint))
      #expect(try cache(kept, "ls", "--json").json?["scores"]?.array?.isEmpty == true)
    }
  }

  @Test func nothingIsThereBeforeTheFirstRun() throws {
    try withTemporaryDirectory { directory in
      let none = directory + "/none"
      let list = try cache(none, "ls")
      list.expectSuccess()
      #expect(list.output.isEmpty && list.error.contains(none))
      try cache(none, "rm", "--all").expectSuccess()
      #expect(!manager.fileExists(atPath: none))
    }
  }

  @Test func scoresAreChosenByPrefixAgeOrAll() throws {
    try withTemporaryDirectory { directory in
      try keep("aaaa000000000001", in: directory, days: 40)
      try keep("aaaa000000000002", in: directory, days: 2)
      try keep("bbbb000000000003", in: directory)
      try cache(directory, "rm", "aaaa").expectFailure(1, saying: "aaaa000000000001", "more digits")
      try cache(directory, "rm", "cccc").expectFailure(1, saying: "cccc")
      #expect(try names(directory).count == 3)
      try cache(directory, "rm", "--older_than", "30d").expectSuccess()
      #expect(try names(directory) == ["aaaa000000000002", "bbbb000000000003"])
      try cache(directory, "rm", "--older-than", "36h").expectSuccess()
      #expect(try names(directory) == ["bbbb000000000003"])
      try cache(directory, "rm", "bbbb000000000003", "bbbb").expectSuccess()
      #expect(try names(directory).isEmpty)
      for wrong in [
        [], ["--all", "aaaa"], ["--older_than", "30"], ["--older_than", "-1d"], ["aa"], ["../x"], ["ZZZZ"],
      ] {
        let result = try Program.run(["cache", "rm"] + wrong, environment: ["COPPICE_CACHE": directory])
        result.expectFailure(64)
      }
    }
  }

  @Test func whatIsNotOursIsLeft() throws {
    try withTemporaryDirectory { directory in
      let root = directory + "/cache"
      try keep("aaaa000000000001", in: root, other: ["notes.txt", "scores-xyz.json"])
      try keep("not-a-fingerprint", in: root)
      try keep("AAAA000000000001", in: root)
      // A directory of ours by its name only, a link to one, and a file.
      let foreign = root + "/bbbb000000000002"
      try manager.createDirectory(atPath: foreign, withIntermediateDirectories: true)
      try Data("x".utf8).write(to: URL(fileURLWithPath: foreign + "/thesis.tex"))
      try keep("cccc000000000003", in: directory)
      try manager.createSymbolicLink(
        atPath: root + "/cccc000000000003", withDestinationPath: directory + "/cccc000000000003")
      try Data("x".utf8).write(to: URL(fileURLWithPath: root + "/dddd000000000004"))
      try Data("x".utf8).write(to: URL(fileURLWithPath: root + "/hashes"))
      let before = try names(root)
      let result = try cache(root, "rm", "--all")
      result.expectSuccess()
      #expect(result.error.contains("notes.txt, scores-xyz.json"), "\(result.error)")
      #expect(try names(root) == before)
      #expect(try names(root + "/aaaa000000000001") == ["notes.txt", "scores-xyz.json"])
      #expect(try names(directory + "/cccc000000000003").count == 2)
      #expect(try names(root + "/not-a-fingerprint").count == 2)
    }
  }

  @Test func whatARunIsUsingIsLeft() throws {
    try withTemporaryDirectory { directory in
      try keep("aaaa000000000001", in: directory)
      let hold = try #require(KeptLock(directory + "/aaaa000000000001"))
      #expect(try cache(directory, "ls", "--json").json?["scores"]?.array?.first?["in_use"]?.bool == true)
      let named = try cache(directory, "rm", "aaaa")
      #expect(named.code == 1 && named.error.contains("a run is using it"), "\(named.error)")
      try cache(directory, "rm", "--all").expectSuccess()
      withExtendedLifetime(hold) {}
      #expect(try names(directory + "/aaaa000000000001").count == 2)
    }
  }
}
