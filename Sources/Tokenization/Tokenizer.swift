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

  /// Loads `tokenizer.json` of a Hugging Face directory. The special tokens are named by `tokenizer_config.json`
  /// or `special_tokens_map.json`, or numbered by `generation_config.json` or `config.json`, in this order.
  ///
  /// - Throws: `TokenizerError` when a file is missing, of the wrong shape, or has a component this library does
  ///   not have.
  public convenience init(directory: String) throws {
    func path(_ name: String) -> String { directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)" }
    let file = path("tokenizer.json")
    guard let data = FileManager.default.contents(atPath: file) else {
      throw TokenizerError(
        "\(file): cannot be read; a tokenizer.json is needed (transformers writes one with save_pretrained)")
    }
    var merged = JSON.Object()
    for name in ["tokenizer_config.json", "special_tokens_map.json", "generation_config.json", "config.json"] {
      guard let data = FileManager.default.contents(atPath: path(name)) else { continue }
      let settings: JSON
      do { settings = try JSON(parsing: [UInt8](data)) } catch { throw TokenizerError("\(path(name)): \(error)") }
      guard let object = settings.object else {
        throw TokenizerError("\(path(name)): expected an object, found \(settings.kind)")
      }
      for key in SpecialTokens.keys where merged[key] == nil {
        if let value = object[key], !value.isNull { merged[key] = value }
      }
    }
    try self.init(tokenizerJSON: [UInt8](data), file: file, config: .object(merged))
  }

  /// Loads the text of a `tokenizer.json`.
  ///
  /// - Parameters:
  ///   - file: what messages call it.
  ///   - config: an object with any of `eos_token`, `eos_token_id` and the same of `bos` and `pad`, as the files
  ///     beside it have them.
  public init(tokenizerJSON: [UInt8], file: String, config: JSON? = nil) throws {
    let json: JSON
    do { json = try JSON(parsing: tokenizerJSON) } catch { throw TokenizerError("\(file): \(error)") }
    let root = Field(value: json, path: "", file: file)
    if let version = try root.optional("version"), try version.string() != "1.0" {
      throw version.error("version \"\(try version.string())\"; only \"1.0\" is known")
    }
    self.file = file
    normalizer = try root.optional("normalizer").map(Normalizer.init)
    let steps = try root.optional("pre_tokenizer").map(PreTokenizer.init)?.flattened ?? []
    let endsInBytes = if case .byteLevel = steps.last { true } else { false }
    model = try Models.load(try root.required("model"), byteLevel: endsInBytes)
    self.steps = steps
    mapsBytes = endsInBytes && !model.takesBytes
    added = try AddedTokens(root.optional("added_tokens"), model: model, normalizer: normalizer)
    postProcessor = try root.optional("post_processor").map(PostProcessor.init)
    decoder = try root.optional("decoder").map(Decoder.init)

    let (model, added) = (model, added)
    vocabularySize = model.vocabularyCount + added.ids.keys.count { model.id(of: $0) == nil }
    let special = SpecialTokens(config: config) { added.id(of: $0) ?? model.id(of: $0) }
    eosTokenID = try special.id("eos", file)
    bosTokenID = try special.id("bos", file)
    padTokenID = try special.id("pad", file)
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
    var out: [Int] = []
    out.reserveCapacity(text.count / 3 + 2)
    for stretch in added.cut(text, added.verbatim) {
      if let id = stretch.id {
        out.append(id)
        continue
      }
      let part = UnsafeBufferPointer(rebasing: text[stretch.start..<stretch.end])
      var atOrigin = stretch.start == 0
      if let normalized = try normalizer?.normalize(part, atOrigin: &atOrigin) {
        try normalized.withUnsafeBufferPointer { try encode(normalized: $0, atOrigin, &scratch, to: &out) }
      } else {
        try encode(normalized: part, atOrigin, &scratch, to: &out)
      }
    }
    return postProcessor?.process(out, addSpecialTokens: addSpecialTokens) ?? out
  }

  private func encode(
    normalized text: UnsafeBufferPointer<UInt8>, _ atOrigin: Bool, _ scratch: inout Scratch, to out: inout [Int]
  ) throws {
    for stretch in added.cut(text, added.afterNormalization) {
      if let id = stretch.id {
        out.append(id)
        continue
      }
      let part = UnsafeBufferPointer(rebasing: text[stretch.start..<stretch.end])
      var pieces = Pieces(count: part.count, atOrigin: atOrigin && stretch.start == 0)
      for (index, step) in steps.enumerated() {
        try pieces.apply(step, to: part)
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
    let parts =
      if let decoder { try decoder.decode(tokens) } else { [Array(tokens.joined(separator: [0x20]))] }
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

/// The names and numbers of bos, eos and pad as a model's JSON files give them.
private struct SpecialTokens {
  static let keys = ["eos", "bos", "pad"].flatMap { ["\($0)_token", "\($0)_token_id"] }

  let config: JSON?
  let find: ([UInt8]) -> Int?

  /// A name comes before a number; of several numbers the first counts.
  func id(_ kind: String, _ file: String) throws -> Int? {
    if let named = config?["\(kind)_token"], let name = named.text ?? named["content"]?.text, let id = find(name.utf8) {
      return id
    }
    guard let number = config?["\(kind)_token_id"], let id = number.int ?? number.array?.first?.int else { return nil }
    guard id >= 0, id <= Int(Int32.max) else {
      throw TokenizerError("the configuration beside \(file): \(kind)_token_id is \(id), which is no token id")
    }
    return id
  }
}
