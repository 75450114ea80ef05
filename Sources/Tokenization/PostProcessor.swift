internal import JSON

/// The `post_processor` of a tokenizer file, as far as ids go: puts special tokens around a text.
indirect enum PostProcessor: Sendable {
  case sequence([PostProcessor])
  case none
  case around(before: [Int], after: [Int])
  case template([Piece])

  enum Piece: Sendable {
    case text
    case special([Int])
  }

  static let names = ["Sequence", "ByteLevel", "TemplateProcessing", "RobertaProcessing", "BertProcessing"]

  init(_ field: Field) throws {
    let type = try field.required("type").string()
    switch type {
    case "Sequence": self = .sequence(try field.required("processors").elements().map(PostProcessor.init))
    case "ByteLevel": self = .none
    case "RobertaProcessing", "BertProcessing":
      self = .around(
        before: [try Self.pairedID(field.required("cls"))], after: [try Self.pairedID(field.required("sep"))])
    case "TemplateProcessing":
      let specials = try field.required("special_tokens")
      self = .template(try field.required("single").elements().map { try Self.piece($0, specials) })
    default: throw field.unknown("post-processor", type, known: Self.names)
    }
  }

  /// The id of `["[CLS]", 101]`.
  private static func pairedID(_ field: Field) throws -> Int {
    let pair = try field.elements()
    guard pair.count == 2 else { throw field.error("expected a token and its id") }
    return try pair[1].id()
  }

  private static func piece(_ field: Field, _ specials: Field) throws -> Piece {
    if let sequence = try field.optional("Sequence") {
      let id = try sequence.required("id").string()
      guard id == "A" else { throw sequence.error("a template for one text asks for the text \"\(id)\"") }
      return .text
    }
    guard let special = try field.optional("SpecialToken") else {
      throw field.error("expected a Sequence or a SpecialToken")
    }
    let name = try special.required("id")
    let key = JSON.Text(utf8: try name.bytes())
    guard let entry = try specials.object()[key] else {
      throw name.error("\"\(key)\" is not among the special_tokens of the post-processor")
    }
    let ids = Field(value: entry, path: "\(specials.path).\(key)", file: field.file)
    return .special(try ids.required("ids").elements().map { try $0.id() })
  }

  /// - Throws: `TokenizerError` where a template makes more of a text than memory should hold.
  func process(_ ids: [Int], addSpecialTokens: Bool, _ effort: Effort) throws -> [Int] {
    switch self {
    case .none: return ids
    case .sequence(let parts):
      return try parts.reduce(ids) { try $1.process($0, addSpecialTokens: addSpecialTokens, effort) }
    case .around(let before, let after):
      try effort.spend(ids.count, "the post-processor")
      return addSpecialTokens ? before + ids + after : ids
    case .template(let pieces):
      // Counted before anything is made: a template may repeat the text, and come after others that did.
      var count = 0
      for piece in pieces {
        switch piece {
        case .text: count += ids.count
        case .special(let special): if addSpecialTokens { count += special.count }
        }
        try Limits.check(count, from: ids.count)
      }
      try effort.spend(count + pieces.count, "the post-processor")
      var out: [Int] = []
      out.reserveCapacity(count)
      for piece in pieces {
        switch piece {
        case .text: out.append(contentsOf: ids)
        case .special(let special): if addSpecialTokens { out.append(contentsOf: special) }
        }
      }
      return out
    }
  }
}
