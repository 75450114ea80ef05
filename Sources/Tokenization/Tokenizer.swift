internal import Files
internal import Foundation
public import JSON

/// Turns text into token ids and back, exactly as Hugging Face's `tokenizers` library does with the same
/// `tokenizer.json` (measured against version 0.23.3; see `Tests/Oracle/tokenizers_compare.py`).
///
/// The parts are those of the library: added tokens are cut out, the rest is normalized, cut into words by the
/// pre-tokenizer, encoded by the model (BPE, Unigram, WordPiece, WordLevel), and the post-processor adds the
/// special tokens around it. The file's `truncation` and `padding` are not applied.
public final class Tokenizer: Sendable {
  private let normalizer: Normalizer?
  private let steps: [PreTokenizer]
  /// Whether words still have to be spelled in GPT-2's byte characters after all steps.
  private let mapsBytes: Bool
  private let model: any Model
  private let added: AddedTokens
  private let postProcessor: PostProcessor?
  private let decoder: Decoder?
  private let file: String
  private let scratches = ScratchPool()

  /// The number of tokens, added ones included.
  public let vocabularySize: Int
  public let eosTokenID: Int?
  public let bosTokenID: Int?
  public let padTokenID: Int?

  /// Loads `tokenizer.json` of a Hugging Face directory, with the tokens that `tokenizer_config.json`,
  /// `special_tokens_map.json` and `added_tokens.json` add to it. The special tokens are named by the first two, or
  /// numbered by those, `generation_config.json` or `config.json`, in this order.
  ///
  /// - Throws: `TokenizerError` when a file is missing, of the wrong shape, or has a component this library does
  ///   not have.
  public convenience init(directory: String) throws {
    let file = directory.hasSuffix("/") ? directory + "tokenizer.json" : "\(directory)/tokenizer.json"
    let json: JSON
    do throws(FileError) { json = try WholeFile.json(file, limit: Self.largestFile) } catch {
      throw TokenizerError(
        error.kind == .malformed
          ? error.message
          : "\(file): cannot be read; a tokenizer.json is needed (transformers writes one with save_pretrained). "
            + error.message)
    }
    let root = Field(value: json, path: "", file: file)
    try self.init(root, TokenSettings(directory: directory, tokenizer: root))
  }

  /// Bytes of a `tokenizer.json`; the largest published ones have forty million.
  package static let largestFile = 1 << 29

  /// Loads the text of a `tokenizer.json`.
  ///
  /// - Parameters:
  ///   - file: what messages call it.
  ///   - config: an object with any of `eos_token`, `eos_token_id` and the same of `bos` and `pad`, as the files
  ///     beside it have them.
  public convenience init(tokenizerJSON: [UInt8], file: String, config: JSON? = nil) throws {
    let json: JSON
    do { json = try JSON(parsing: tokenizerJSON) } catch { throw TokenizerError("\(file): \(error)") }
    try self.init(Field(value: json, path: "", file: file), TokenSettings(naming: config, file: file))
  }

  private init(_ root: Field, _ settings: TokenSettings) throws {
    if let version = try root.optional("version"), try version.string() != "1.0" {
      throw version.error("version \"\(try version.string())\"; only \"1.0\" is known")
    }
    file = root.file
    normalizer = try root.optional("normalizer").map(Normalizer.init)
    let steps = try root.optional("pre_tokenizer").map(PreTokenizer.init)?.flattened ?? []
    let endsInBytes = if case .byteLevel = steps.last { true } else { false }
    model = try Models.load(try root.required("model"), byteLevel: endsInBytes)
    self.steps = steps
    mapsBytes = endsInBytes && !model.takesBytes
    added = try AddedTokens(root.optional("added_tokens"), settings, model: model, normalizer: normalizer, file: file)
    postProcessor = try root.optional("post_processor").map(PostProcessor.init)
    decoder = try root.optional("decoder").map(Decoder.init)

    let (model, added) = (model, added)
    vocabularySize = model.vocabularyCount + added.ids.keys.count { model.id(of: $0) == nil }
    let find: ([UInt8]) -> Int? = { added.id(of: $0) ?? model.id(of: $0) }
    eosTokenID = try settings.id("eos", find)
    bosTokenID = try settings.id("bos", find)
    padTokenID = try settings.id("pad", find)
  }

  /// The id of a token by its spelling in the vocabulary.
  public func id(of token: String) -> Int? {
    let bytes = Array(token.utf8)
    return added.id(of: bytes) ?? model.id(of: bytes)
  }

  /// The token of an id, as the vocabulary spells it.
  public func token(of id: Int) -> String? {
    (added.spelling(of: id) ?? model.token(of: id)).map { String(decoding: $0, as: UTF8.self) }
  }

  /// What decides over ids besides `tokenizer.json` itself: added tokens with their flags, and the numbers of eos, bos
  /// and pad. For fingerprints: equal settings with an equal file encode alike.
  public var settings: JSON {
    .object([("added", added.json), ("special", .array([eosTokenID, bosTokenID, padTokenID].map { .int($0 ?? -1) }))])
  }

  // MARK: Encoding

  /// - Throws: `TokenizerError` when the model cannot spell the text (no unknown token), or a pattern runs away.
  public func encode(_ text: String, addSpecialTokens: Bool = true) throws -> [Int] {
    var text = text
    return try text.withUTF8 { try encode(valid: $0, addSpecialTokens) }
  }

  /// - Throws: `TokenizerError` for bytes that are not UTF-8, and as the other `encode`.
  public func encode(utf8: [UInt8], addSpecialTokens: Bool = true) throws -> [Int] {
    try utf8.withUnsafeBufferPointer { bytes in
      if let bad = firstInvalid(bytes) { throw TokenizerError("the text is not UTF-8 at byte \(bad)") }
      return try encode(valid: bytes, addSpecialTokens)
    }
  }

  private func firstInvalid(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    if bytes.allSatisfy({ $0 < 0x80 }) || String(validating: bytes, as: UTF8.self) != nil { return nil }
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var at = 0
    while case .scalarValue(let scalar) = decoder.decode(&iterator) { at += UTF8.width(scalar) }
    return at
  }

  private func encode(valid text: UnsafeBufferPointer<UInt8>, _ addSpecialTokens: Bool) throws -> [Int] {
    var scratch = scratches.take()
    defer { scratches.give(scratch) }
    let effort = Effort(bytes: text.count, file: file)
    scratch.effort = effort
    var out: [Int] = []
    out.reserveCapacity(text.count / 3 + 2)
    for stretch in try added.cut(text, added.verbatim, effort) {
      if let id = stretch.id {
        out.append(id)
        continue
      }
      let part = UnsafeBufferPointer(rebasing: text[stretch.start..<stretch.end])
      var atOrigin = stretch.start == 0
      if let normalized = try normalizer?.normalize(part, atOrigin: &atOrigin, effort) {
        try normalized.withUnsafeBufferPointer { try encode(normalized: $0, atOrigin, &scratch, to: &out) }
      } else {
        try encode(normalized: part, atOrigin, &scratch, to: &out)
      }
    }
    return try postProcessor?.process(out, addSpecialTokens: addSpecialTokens, effort) ?? out
  }

  private func encode(
    normalized text: UnsafeBufferPointer<UInt8>, _ atOrigin: Bool, _ scratch: inout Scratch, to out: inout [Int]
  ) throws {
    let effort = scratch.effort
    for stretch in try added.cut(text, added.afterNormalization, effort) {
      if let id = stretch.id {
        out.append(id)
        continue
      }
      let part = UnsafeBufferPointer(rebasing: text[stretch.start..<stretch.end])
      var pieces = Pieces(count: part.count, atOrigin: atOrigin && stretch.start == 0)
      for (index, step) in steps.enumerated() {
        try pieces.apply(step, to: part, effort)
        if case .byteLevel = step, mapsBytes || index < steps.count - 1 { pieces.mapBytes(part) }
        try Limits.check(pieces.buffer?.count ?? 0, from: part.count)
      }
      try pieces.withText(part) { text in
        for piece in pieces.pieces {
          try model.encode(UnsafeBufferPointer(rebasing: text[piece.start..<piece.end]), &scratch, to: &out)
        }
      }
    }
  }

  // MARK: Decoding

  /// The text of ids.
  ///
  /// - Throws: `TokenizerError` for an id that is in neither vocabulary. (The library passes over those in silence.)
  public func decode(_ ids: [Int], skipSpecialTokens: Bool = false) throws -> String {
    var tokens: [[UInt8]] = []
    tokens.reserveCapacity(ids.count)
    for (index, id) in ids.enumerated() {
      guard let token = added.spelling(of: id) ?? model.token(of: id) else {
        throw TokenizerError("\(file): there is no token with the id \(id) (number \(index) of the list to decode)")
      }
      if skipSpecialTokens, added.isSpecial(token) { continue }
      tokens.append(token)
    }
    let effort = Effort(bytes: tokens.reduce(0) { $0 + $1.count }, file: file)
    let parts =
      if let decoder { try decoder.decode(tokens, effort) } else { [Array(tokens.joined(separator: [0x20]))] }
    return String(decoding: parts.joined(), as: UTF8.self)
  }
}

/// Caches and buffers, one for every encoding going on at the same time.
private final class ScratchPool: @unchecked Sendable {
  private let lock = NSLock()
  private var idle: [Scratch] = []

  func take() -> Scratch { lock.withLock { idle.popLast() } ?? Scratch() }
  func give(_ scratch: consuming Scratch) {
    let scratch = scratch
    lock.withLock { if idle.count < 64 { idle.append(scratch) } }
  }
}
