import Checkpoint
import Foundation
import TestSupport
import Testing

/// What a result says of itself: `README.md` and `report.md`.
@Suite struct ModelCardTests {
  private func text(_ path: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
  }

  private func copy(in directory: String, readMe: String) throws -> String {
    let copy = directory + "/my model"
    try FileManager.default.copyItem(atPath: Program.model, toPath: copy)
    try Data(readMe.utf8).write(to: URL(fileURLWithPath: copy + "/README.md"))
    return copy
  }

  @Test func aSearchIsDescribedAndItsCandidatesListed() throws {
    try withTemporaryDirectory { directory in
      let readMe = "---\nlicense: mit\nlanguage:\n- \"no\"\ntags:\n- \"a: b\"\nbase_model: org/base\n---\n# original\n"
      let source = try copy(in: directory, readMe: readMe)
      let arguments = [
        "--prune-target-params=3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss",
        "--eval_num_samples",
        "2", "--top_k", "3", "--hparams_to_skip", "num_attention_heads", "--quiet", "--prune_intermediate_ckpt",
        directory + "/kept",
      ]
      try Program.run(prune(to: directory + "/out", arguments, model: source)).expectSuccess()
      let card = try text(directory + "/out/README.md")
      #expect(try text(directory + "/out/README.source.md") == readMe)
      let metadata = CardMetadata(parsing: card)
      #expect(metadata["license"] == ["mit"] && metadata["language"] == ["no"])
      #expect(metadata["base_model"] == ["org/base"] && metadata["library_name"] == ["transformers"])
      #expect(metadata["tags"] == ["a: b", "pruned", "minitron", "coppice"])
      for part in [
        "# out\n", "| hidden_size | 192 | 160 |", "| parameters | 3,935,936 |", "All 8 layers are kept.",
        "README.source.md",
        "| data | calib.jsonl |", "neg\\_loss", "2 rows", "--prune_target_params 3M",
        "--hf_model_name_or_path 'my model'",
        "--output_hf_path out", "from_pretrained(\"out\"", "vllm serve out", "convert_hf_to_gguf.py out", "distill.py",
      ] {
        #expect(card.contains(part), "\(part)")
      }
      let report = try text(directory + "/out/report.md")
      #expect(report.contains("| # | num_layers | hidden_size | ffn_hidden_size | params | MiB | neg\\_loss |"))
      #expect(report.components(separatedBy: " ± ").count == 4)
      for words in [card, report] {
        #expect(!words.contains(directory) && !words.contains("--quiet") && !words.contains("prune_intermediate"))
      }
      // Once more from kept scores, elsewhere: the same bytes.
      let again = directory + "/again"
      try FileManager.default.createDirectory(atPath: again, withIntermediateDirectories: true)
      try Program.run(prune(to: again + "/out", arguments, model: source)).expectSuccess()
      for name in ["README.md", "report.md", "coppice.json"] {
        #expect(try text(again + "/out/" + name) == text(directory + "/out/" + name))
      }
    }
  }

  @Test func byHandTheReportSaysWhatWasCut() throws {
    try withTemporaryDirectory { directory in
      let output = directory + "/--[x](y)`|\n#"
      var flags = prune(to: output, ["--prune_export_config", #"{"ffn_hidden_size": 256, "num_layers": 6}"#])
      flags.removeFirst()
      try Program.run(flags, name: "prune_minitron").expectSuccess()
      let (card, report) = (try text(output + "/README.md"), try text(output + "/report.md"))
      for words in [card, report] {
        #expect(words.contains("| num_layers | 8 | 6 |") && words.contains("| ffn_hidden_size | 512 | 256 |"))
        #expect(words.contains("Layers kept of 8, counted from 1: "))
        #expect(words.split(separator: "\n").contains { $0.hasPrefix("# ") && $0.contains(##"--\[x\](y)\`\| \#"##) })
      }
      #expect(card.contains("base_model: model\n"))
      #expect(
        card.contains(#"prune_minitron \"#) && card.contains(#"--prune_export_config '{"ffn_hidden_size": 256, "#))
      #expect(!card.contains("## Score") && !card.contains("README.source.md"))
      #expect(!card.contains(Program.examples))
    }
  }
}
