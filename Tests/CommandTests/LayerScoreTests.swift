import Foundation
import JSON
import TestSupport
import Testing

/// `--layer_score kl`: layers are ranked by what the model loses without each.
@Suite struct LayerScoreTests {
  private static let kl = ["--layer_score", "kl", "--layer_score_rows", "3"]
  private func byHand(_ config: String) -> [String] { ["--prune_export_config", config] }
  private func kept(_ output: String) throws -> [Int] {
    try #require(try Golden.json(output + "/coppice.json")["kept_layers"]?.array).compactMap(\.int)
  }
  private func scores(_ output: String) throws -> [Double] {
    try #require(try Golden.json(output + "/coppice_importance.json")["scores"]?["num_layers_kl"]?.array)
      .compactMap(\.double)
  }

  @Test func layersAreLeftOutOnceAndNothingElseIsMeasured() throws {
    try withTemporaryDirectory { directory in
      let cache = ["COPPICE_CACHE": directory + "/cache"]
      func run(_ name: String, _ flags: [String]) throws -> Program.Result {
        let result = try Program.run(prune(to: directory + "/" + name, flags), environment: cache)
        result.expectSuccess()
        return result
      }
      let first = try run("first", byHand(#"{"num_layers": 6}"#) + Self.kl + ["--json"])
      #expect(
        first.error.contains("ranking 8 layers by the divergence of the model without each, on the first 3 of 4 rows"))
      #expect(!first.error.contains("calibrating on"), "\(first.error)")
      #expect(first.json?["layer_score"]?.string == "kl")
      let made = try Golden.json(directory + "/first/coppice.json")["made_of"]
      #expect(made?["layer_score"]?.string == "kl" && made?["layer_score_rows"]?.string == "3")
      let scores = try scores(directory + "/first")
      let best = scores.indices.sorted { scores[$0] > scores[$1] }.prefix(6).map { $0 + 1 }.sorted()
      #expect(try scores.count == 8 && kept(directory + "/first") == best)
      #expect(
        try String(contentsOfFile: directory + "/first/README.md", encoding: .utf8)
          .contains("| layers ranked by | the divergence without each (kl), on 3 rows |"))
      // Another depth, and widths besides: the walk is not walked again.
      let second = try run("second", byHand(#"{"num_layers": 5, "ffn_hidden_size": 256}"#) + Self.kl)
      #expect(second.error.contains("no need to leave each out again") && second.error.contains("calibrating on"))
      #expect(try self.scores(directory + "/second") == scores)
      // Other rows are other scores, beside the first.
      let other = byHand(#"{"num_layers": 6}"#) + ["--layer_score", "kl", "--layer_score_rows", "2"]
      #expect(try run("other", other).error.contains("ranking 8 layers"))
      #expect(try self.scores(directory + "/other") != scores)
      #expect(try run("first", byHand(#"{"num_layers": 6}"#) + Self.kl).error.contains("nothing to do"))
      try Program.run(prune(to: directory + "/first", byHand(#"{"num_layers": 6}"#)), environment: cache)
        .expectFailure(1, saying: "layer_score kl")
      let listed = try Program.run(["cache", "ls", "--json"], environment: cache)
      #expect(listed.output.contains("calib.jsonl"), "\(listed.output)")
      try Program.run(["cache", "rm", "--all"], environment: cache).expectSuccess()
      let left = try FileManager.default.contentsOfDirectory(atPath: directory + "/cache")
      #expect(left.allSatisfy { $0.wholeMatch(of: /[0-9a-f]{16}/) == nil }, "\(left)")
    }
  }

  /// In a search, in a rotated basis and by several processes the scores are the same bytes.
  @Test func searchesRankBySuchScores() throws {
    try withTemporaryDirectory { directory in
      try Program.run(prune(to: directory + "/byhand", byHand(#"{"num_layers": 6}"#) + Self.kl)).expectSuccess()
      let expected = try scores(directory + "/byhand")
      let order = expected.indices.sorted { expected[$0] > expected[$1] }.map { "\($0 + 1)" }.joined(separator: ", ")
      for (name, flags) in [
        ("channels", []), ("rotated", ["--basis", "rotated"]), ("processes", ["--nproc", "2", "--pp_size", "2"]),
      ] {
        let out = directory + "/" + name
        let result = try Program.run(
          prune(
            to: out,
            [
              "--prune_target_params", "2.4M", "--ss_channel_divisor", "64", "--max_depth_pruning", "0.5", "--top_k",
              "2",
              "--prune_score_func", "neg_loss", "--eval_num_samples", "2",
            ] + Self.kl + flags))
        result.expectSuccess()
        #expect(result.error.contains("layers by importance, best first: \(order)"), "\(name): \(result.error)")
        #expect(try scores(out) == expected, "\(name)")
        let kept = try kept(out)
        let best = expected.indices.sorted { expected[$0] > expected[$1] }.prefix(kept.count).map { $0 + 1 }.sorted()
        #expect(kept == best)
        let report = try String(contentsOfFile: out + "/report.md", encoding: .utf8)
        #expect(report.contains("Layers by importance, best first: \(order)"))
      }
    }
  }

  @Test func withoutLayersToDropNothingIsLeftOut() throws {
    try withTemporaryDirectory { directory in
      for (name, flags) in [
        ("width", byHand(#"{"ffn_hidden_size": 256}"#)), ("named", ["--drop_layers", "3"]),
      ] {
        let result = try Program.run(prune(to: directory + "/" + name, flags + Self.kl))
        result.expectSuccess()
        #expect(result.error.contains("--layer_score kl changes nothing here"))
        #expect(!result.error.contains("ranking 8 layers"))
        #expect(try Golden.json(directory + "/" + name + "/coppice.json")["made_of"]?["layer_score"] == nil)
      }
    }
  }

  @Test func damagedScoresOfLayersAreNotUsed() throws {
    try withTemporaryDirectory { directory in
      let flags = byHand(#"{"num_layers": 6}"#) + Self.kl + ["--prune_intermediate_ckpt", directory + "/kept"]
      try Program.run(prune(to: directory + "/first", flags)).expectSuccess()
      let names = try FileManager.default.contentsOfDirectory(atPath: directory + "/kept").filter {
        $0.hasPrefix("layers-")
      }
      let file = URL(fileURLWithPath: directory + "/kept/" + (try #require(names.first)))
      let whole = try Data(contentsOf: file)
      for damage in [
        whole.dropLast(3), Data(), Data("{}".utf8),
        Data(String(decoding: whole, as: UTF8.self).replacing("3", with: "4").utf8),
      ] {
        try damage.write(to: file)
        try Program.run(prune(to: directory + "/second", flags)).expectFailure(1, saying: "damaged", "--fresh")
        #expect(!FileManager.default.fileExists(atPath: directory + "/second"))
      }
      try Program.run(prune(to: directory + "/second", flags + ["--fresh"])).expectSuccess()
      #expect(try scores(directory + "/second") == scores(directory + "/first"))
      #expect(try Data(contentsOf: file) == whole)
    }
  }
}
