/// The data sets that are known by a name of their own, and what of their rows is text.
///
/// Source: `SUPPORTED_DATASET_CONFIG` and `DATASET_COMBOS` in Model-Optimizer's `dataset_utils.py`.
public enum DatasetRegistry {
  struct Entry: Sendable {
    let name: String
    /// On the hub.
    let repository: String
    /// The configuration there; another one is as good where it is the only one.
    var config: String?
    /// Each gives an even share of the rows, the last the rest.
    let splits: [String]
    /// The files of a split, `{split}` standing for its name, where the repository's own layout does not give them.
    var files: String?
    /// Whether its owner grants access one by one: a token is needed.
    var isGated = false
    let row: RowText
  }

  /// What is calibrated on where nothing is named. It is gated.
  public static let defaultName = "nemotron-post-training-dataset-v2"
  /// A set of plain text that needs neither a token nor a chat template.
  public static let openText = "cnn_dailymail"

  /// Every name, mixes last.
  public static var names: [String] { entries.map(\.name) + mixes.map(\.name) }

  /// Whether a token is needed for it, or for a member of it.
  public static func isGated(_ name: String) -> Bool {
    (mixes.first { $0.name == name }?.members ?? [name]).contains { entry($0)?.isGated ?? false }
  }

  static func entry(_ name: String) -> Entry? { entries.first { $0.name == name } }

  static let mixes: [(name: String, members: [String])] = [
    ("cnn_nemotron_v2_mix", ["cnn_dailymail", "nemotron-post-training-dataset-v2"]),
    (
      "nemotron-post-training-v3",
      [
        "nemotron-sft-instruction-following-chat-v2", "nemotron-science-v1", "nemotron-competitive-programming-v1",
        "nemotron-sft-agentic-v2", "nemotron-math-v2", "nemotron-sft-swe-v2", "nemotron-sft-multilingual-v1",
      ]
    ),
  ]

  private static let messages = RowText.conversation("messages")
  private static let text = RowText.joined(["text"])

  static let entries: [Entry] = [
    Entry(
      name: "open_code_reasoning", repository: "nvidia/OpenCodeReasoning", config: "split_0", splits: ["split_0"],
      row: .joined(["input", "output"])),
    Entry(
      name: "open_math_reasoning", repository: "nvidia/OpenMathReasoning", splits: ["cot", "tir", "genselect"],
      row: .joined(["problem", "generated_solution"])),
    Entry(
      name: "llama-nemotron-post-training-dataset", repository: "nvidia/Llama-Nemotron-Post-Training-Dataset",
      config: "SFT", splits: ["code", "math", "science", "chat", "safety"], row: .turns("input", then: "output")),
    Entry(
      name: "nemotron-post-training-dataset-v2", repository: "nvidia/Nemotron-Post-Training-Dataset-v2",
      splits: ["stem", "chat", "math", "code"], isGated: true, row: messages),
    Entry(
      name: "nemotron-post-training-dataset-v1", repository: "nvidia/Nemotron-Post-Training-Dataset-v1",
      splits: ["stem", "chat", "math", "code", "tool_calling"], row: messages),
    Entry(
      name: "nemotron-sft-instruction-following-chat-v2",
      repository: "nvidia/Nemotron-SFT-Instruction-Following-Chat-v2", splits: ["reasoning_off"], row: messages),
    Entry(
      name: "nemotron-science-v1", repository: "nvidia/Nemotron-Science-v1", splits: ["MCQ", "RQA"], row: messages),
    Entry(
      name: "nemotron-competitive-programming-v1", repository: "nvidia/Nemotron-Competitive-Programming-v1",
      splits: ["cpp", "python"].flatMap { language in
        ["00", "01"].map { "competitive_coding_\(language)_part\($0)" }
      }, row: messages),
    Entry(
      name: "nemotron-sft-agentic-v2", repository: "nvidia/Nemotron-SFT-Agentic-v2", splits: ["search"],
      files: "data/{split}*.jsonl", row: messages),
    Entry(
      name: "nemotron-math-v2", repository: "nvidia/Nemotron-Math-v2",
      splits: ["high_part00", "high_part01", "high_part02", "medium", "low"], row: messages),
    Entry(
      name: "nemotron-sft-swe-v2", repository: "nvidia/Nemotron-SFT-SWE-v2", splits: ["agentless"], row: messages),
    Entry(
      name: "nemotron-sft-multilingual-v1", repository: "nvidia/Nemotron-SFT-Multilingual-v1",
      splits: ["code", "math", "stem"].flatMap { subject in
        ["de", "es", "fr", "it", "ja", "zh"].map { "\(subject)_\($0)" }
      }, row: messages),
    Entry(
      name: "magpie", repository: "Magpie-Align/Magpie-Pro-MT-300K-v0.1", splits: ["train"],
      row: .conversation("conversations")),
    Entry(
      name: "cnn_dailymail", repository: "abisee/cnn_dailymail", config: "3.0.0", splits: ["train"],
      row: .joined(["article"])),
    Entry(name: "pile", repository: "monology/pile-uncopyrighted", config: "v1.0", splits: ["train"], row: text),
    Entry(name: "pg19", repository: "pg19", config: "v1.0", splits: ["train"], row: text),
    Entry(name: "wikipedia", repository: "wikipedia", config: "20220301.en", splits: ["train"], row: text),
    Entry(name: "c4", repository: "c4", config: "en", splits: ["train"], row: text),
    Entry(
      name: "wikitext", repository: "Salesforce/wikitext", config: "wikitext-103-v1", splits: ["train"], row: text),
  ]

  /// The registered name that is most like another, where one is like it at all.
  static func nearest(_ name: String) -> String? {
    let folded = fold(name)
    let near = names.map { (name: $0, distance: distance(folded, fold($0))) }.min { $0.distance < $1.distance }
    guard let near, near.distance <= max(2, folded.count / 4) else {
      // Somebody may write only what is different about a name.
      let holding = names.filter { name.utf8.count >= 4 && fold($0).contains(folded) }
      return holding.count == 1 ? holding[0] : nil
    }
    return near.name
  }

  private static func fold(_ name: String) -> [UInt8] {
    name.lowercased().utf8.prefix(200).map { $0 == UInt8(ascii: "_") ? UInt8(ascii: "-") : $0 }
  }

  /// Insertions, deletions and replacements that make one of the other (Levenshtein 1965).
  private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, left) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, right) in b.enumerated() {
        let above = row[j + 1]
        row[j + 1] = min(above + 1, row[j] + 1, diagonal + (left == right ? 0 : 1))
        diagonal = above
      }
    }
    return row[b.count]
  }
}
