internal import JSON

/// How the text at matches goes with that between them.
enum SplitBehavior: String, CaseIterable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  init(_ field: Field) throws {
    let name = try field.string()
    guard let behavior = SplitBehavior(rawValue: name) else {
      throw field.unknown("behavior", name, known: Self.allCases.map(\.rawValue))
    }
    self = behavior
  }
}

/// The `pre_tokenizer` of a tokenizer file: cuts text into the words the model sees.
indirect enum PreTokenizer: Sendable {
  enum PrependScheme: String, CaseIterable { case first, never, always }

  case sequence([PreTokenizer])
  case byteLevel(addPrefixSpace: Bool, pattern: Pattern?)
  case split(TextPattern, SplitBehavior, invert: Bool)
  case metaspace(replacement: [UInt8], PrependScheme, split: Bool)
  case scalars(@Sendable (UInt32) -> Bool, SplitBehavior)
  case fixedLength(Int)

  static let names = [
    "Sequence", "ByteLevel", "Split", "Metaspace", "Digits", "Whitespace", "WhitespaceSplit", "Punctuation",
    "CharDelimiterSplit", "BertPreTokenizer", "FixedLength",
  ]

  /// https://github.com/openai/gpt-2/blob/master/src/encoder.py
  private static let gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  init(_ field: Field) throws {
    let type = try field.required("type").string()
    switch type {
    case "Sequence": self = .sequence(try field.required("pretokenizers").elements().map(PreTokenizer.init))
    case "ByteLevel":
      let pattern = try field.bool("use_regex", default: true) ? try Pattern(Self.gpt2) : nil
      self = .byteLevel(addPrefixSpace: try field.bool("add_prefix_space", default: true), pattern: pattern)
    case "Split":
      self = .split(
        try TextPattern(field.required("pattern")), try SplitBehavior(field.required("behavior")),
        invert: try field.bool("invert", default: false))
    case "Metaspace": self = try Self.metaspace(field)
    case "Digits":
      let single = try field.bool("individual_digits", default: false)
      self = .scalars(ScalarClass.isNumeric, single ? .isolated : .contiguous)
    case "Whitespace":
      // `\w+|[^\w\s]+` in Rust's regular expressions, whose `\w` is not Oniguruma's: runs of word scalars, runs of others.
      self = .sequence([
        .scalars({ ScalarClass.isWhitespace($0) && !ScalarClass.isWord($0) }, .removed),
        .scalars(ScalarClass.isWord, .contiguous),
      ])
    case "WhitespaceSplit": self = .scalars(ScalarClass.isWhitespace, .removed)
    case "Punctuation":
      self = .scalars(
        ScalarClass.isPunctuation, try field.optional("behavior").map(SplitBehavior.init) ?? .isolated)
    case "CharDelimiterSplit":
      let delimiter = try field.required("delimiter").scalar().value
      self = .scalars({ $0 == delimiter }, .removed)
    case "BertPreTokenizer":
      self = .sequence([
        .scalars(ScalarClass.isWhitespace, .removed), .scalars(ScalarClass.isPunctuation, .isolated),
      ])
    case "FixedLength":
      let length = try field.optional("length")?.count() ?? 5
      guard length > 0 else { throw field.error("a length of 0") }
      self = .fixedLength(length)
    default: throw field.unknown("pre-tokenizer", type, known: Self.names)
    }
  }

  private static func metaspace(_ field: Field) throws -> PreTokenizer {
    let (replacement, scheme) = try metaspaceOptions(field)
    return .metaspace(replacement: replacement, scheme, split: try field.bool("split", default: true))
  }

  /// What the pre-tokenizer and the decoder `Metaspace` share.
  static func metaspaceOptions(_ field: Field) throws -> ([UInt8], PrependScheme) {
    var replacement: [UInt8] = []
    appendScalar(try field.required("replacement").scalar().value, to: &replacement)
    var scheme = PrependScheme.always
    if let named = try field.optional("prepend_scheme") {
      let name = try named.string()
      guard let known = PrependScheme(rawValue: name) else {
        throw named.unknown("prepend scheme", name, known: PrependScheme.allCases.map(\.rawValue))
      }
      scheme = known
    }
    // Files from before the schemes.
    if let add = try field.optional("add_prefix_space"), try !add.bool() {
      let named = try field.optional("prepend_scheme") != nil
      if named, scheme != .never { throw add.error("false, but the prepend scheme is \"\(scheme.rawValue)\"") }
      scheme = .never
    }
    return (replacement, scheme)
  }

  /// The steps one after the other, sequences opened.
  var flattened: [PreTokenizer] {
    if case .sequence(let parts) = self { parts.flatMap(\.flattened) } else { [self] }
  }
}
