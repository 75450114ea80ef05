import Checkpoint
import Formatting
import Models
import Training

/// What a trained model is and how it came to be, for its `README.md`. Nothing in it depends on when or where the program ran.
struct DistilledCard {
  let request: DistillRequest
  let student: SourceModel, teacher: SourceModel
  /// The result's path.
  let path: String
  let computeType: String
  /// On text that is held back, before and after; nil where there is none.
  let losses: (before: LossSums, after: LossSums)?

  private static func name(_ model: SourceModel) -> (name: SourceName, metadata: CardMetadata) {
    let directory = model.checkpoint.directory
    let metadata = CardMetadata(directory: directory)
    return (SourceName(directory: directory, config: model.description.config, metadata: metadata), metadata)
  }

  private static func last(_ path: String) -> String { path.split(separator: "/").last.map(String.init) ?? path }

  var readMe: String {
    let ((own, metadata), original) = (Self.name(student), Self.name(teacher).name)
    let card =
      student.checkpoint.hasCard ? " The student's own card is in [README.source.md](README.source.md)." : ""
    let tokens = request.steps * request.globalBatch * request.seqLength
    var rows = [
      [
        "learned from",
        request.answers.map { Self.last($0) + " (answers)" } ?? (request.usesMockData ? "random tokens" : data),
      ],
      ["tokens", (request.answers == nil ? "" : "at most ") + Format.grouped(tokens)],
      ["steps", Format.grouped(request.steps)],
      [
        "rows of a step, tokens of a row",
        "\(Format.grouped(request.globalBatch)), \(Format.grouped(request.seqLength))",
      ],
      ["loss", loss],
      ["learning rate", "\(request.rate) to \(request.leastRate), \(Format.grouped(request.warmup)) steps of warm-up"],
      ["computed in", computeType],
    ]
    if let losses {
      func line(_ name: String, _ value: (LossSums) -> Double) -> [String] {
        [
          name,
          [losses.before, losses.after].map { Format.decimal(value($0), places: 4) }.joined(separator: " before, ")
            + " after",
        ]
      }
      rows.append(line("KL from the teacher on text that is held back", \.divergence))
      rows.append(line("loss on that text", \.crossEntropy))
    }
    return """
      \(metadata.frontMatter(of: own.baseModel == nil ? original : own, tags: ["distillation", "coppice"]))
      # \(Markdown.escaped(Self.last(path)))

      This is \(own.linked), which Coppice \(coppiceVersion) had learn from \(original.linked): it follows the \
      [teacher's distribution](https://arxiv.org/abs/1503.02531) of every next token.\(card)

      ## What was learned

      \(Markdown.table(["", ""], rows: rows))
      """
  }

  private var data: String {
    request.data.map { $0.hasPrefix("/") ? Self.last($0) : $0 }.joined(separator: ", ")
      + (request.packsSequences ? ", documents kept apart" : "")
  }

  private var loss: String {
    var parts = ["KL" + (request.temperature == 1 ? "" : " at temperature \(request.temperature)")]
    if let topK = request.topK { parts.append("of the teacher's \(topK) likeliest tokens") }
    if request.learnsText { parts.append("with cross-entropy of the text") }
    if !request.layerPairs.isEmpty { parts.append("with \(request.layerPairs.count) pairs of layers") }
    return parts.joined(separator: " ")
  }
}

extension CheckpointReader {
  /// Whether the checkpoint says of itself what it is.
  fileprivate var hasCard: Bool {
    (try? Companions(directory: directory))?.files.contains { $0.source == "README.md" } ?? false
  }
}
