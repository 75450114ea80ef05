import Datasets
import Files
import Messages
import Minitron
import Models
import Tokenization

/// The text of a distillation as token numbers: indexed datasets that are there, and those made of other data once.
struct TokenSources {
  /// Documents to learn from, to validate on, and the rest.
  struct Split {
    let training: Range<Int>
    let validation: Range<Int>

    /// Documents in their order, divided by shares; what has a share has at least one document where there are enough.
    init(documents: Int, shares: [Double]) {
      let held = shares[1] > 0 && documents > 1 ? 1 : 0
      func end(_ share: Double) -> Int { Int((Double(documents) * share / shares.reduce(0, +)).rounded()) }
      let first = min(max(end(shares[0]), min(documents, 1)), documents - held)
      training = 0..<first
      validation = first..<min(max(end(shares[0] + shares[1]), first + held), documents)
    }
  }

  private let list: [(tokens: IndexedTokens, weight: Double, split: Split)]
  /// Names and values for the fingerprint.
  let madeOf: [(String, String)]

  init(_ request: DistillRequest, model: SourceModel, tokenizer: Tokenizer, events: RunEvents) throws {
    let named = try DistillRequest.weighted(request.data)
    let encoder = try CalibrationEncoder(
      tokenizer: tokenizer, beginsWithBOS: false, directory: model.checkpoint.directory)
    let vocabulary = model.description.sizes[.vocabulary]
    let cache = request.tokenCache ?? request.output + "/tokens"
    list = try named.map { name, weight in
      let tokens: IndexedTokens
      if IndexedTokens.isThere(name) {
        tokens = try IndexedTokens(prefix: name)
      } else {
        tokens = try Self.encoded(name, encoder, vocabulary: vocabulary, cache: cache, events)
      }
      return (tokens, weight, Split(documents: tokens.lengths.count, shares: request.split))
    }
    madeOf =
      try [("split", request.split.map { "\($0)" }.joined(separator: ","))]
      + zip(named, list).map { ("data \($0.name)", "\($1.weight) × \(try $1.tokens.fingerprint())") }
  }

  /// Data that is not token numbers yet; from the cache where it has been before.
  private static func encoded(
    _ name: String, _ encoder: CalibrationEncoder, vocabulary: Int, cache: String, _ events: RunEvents
  ) throws -> IndexedTokens {
    let data = try [name].data(HubDatasets(events))
    let template = try data.hasConversations() ? try encoder.templateHash() : "none"
    let made = Fingerprint([
      ("tokens", "1"), ("data", try data.fingerprint()),
      ("tokenizer", try PruneInputs.hash(encoder.tokenizer, file: encoder.directory + "/tokenizer.json")),
      ("chat_template", template), ("vocabulary", "\(vocabulary)"),
    ])
    let prefix = cache + "/" + made.key
    if !IndexedTokens.isThere(prefix) {
      let progress = events.progress("tokenizing \(name)", total: nil, unit: "documents")
      let written = try data.write(encoder, vocabulary: vocabulary, to: prefix) { progress.update($0) }
      progress.finish()
      for warning in written.warnings { try events.warn(.data(warning)) }
    }
    return try IndexedTokens(prefix: prefix)
  }

  /// What of each source is used, with the sources' weights; those that have nothing are left out.
  func parts(_ documents: (Split) -> Range<Int>) -> [TokenBlend.Part] {
    list.compactMap { tokens, weight, split in
      let range = documents(split)
      guard range.contains(where: { tokens.lengths[$0] > 0 }) else { return nil }
      return TokenBlend.Part(tokens, documents: range, weight: weight)
    }
  }
}
