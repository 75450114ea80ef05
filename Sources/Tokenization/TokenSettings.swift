internal import Files
internal import JSON

/// What the files beside a `tokenizer.json` say about tokens: which are special, and which are to be added to those
/// that it holds.
///
/// Source: `PreTrainedTokenizerBase._from_pretrained` and `TokenizersBackend.__init__` of transformers 5.24. Where those
/// stop with a Python error (a special token that is an object without `__type`), this reads what is meant.
struct TokenSettings {
  /// A token by its spelling alone, or with its flags.
  enum Named: Equatable {
    case text([UInt8])
    case token(AddedTokens.Token)

    var content: [UInt8] {
      switch self {
      case .text(let content): content
      case .token(let token): token.content
      }
    }
  }

  private static let attributes = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// Special tokens by the key that names them, in the order in which they are added.
  private(set) var named: [(key: String, token: Named)] = []
  private var extra: [Named] = []
  /// `added_tokens_decoder`, by index.
  private var listed: [Int: AddedTokens.Token] = [:]
  /// Names that only help to find bos, eos and pad: those of a `special_tokens_map.json` that is otherwise ignored.
  private var hints: JSON.Object = JSON.Object()
  /// The files that may number bos, eos and pad, the first to do so counting.
  private var numbering: [(file: String, object: JSON.Object)] = []

  /// Nothing but what an object says of bos, eos and pad.
  init(naming config: JSON?, file: String) {
    guard let object = config?.object else { return }
    hints = object
    numbering = [("the configuration beside \(file)", object)]
  }

  /// Reads the files of a directory; those that are not there have nothing to say.
  ///
  /// - Parameter tokenizer: the directory's `tokenizer.json`.
  init(directory: String, tokenizer: Field) throws {
    func read(_ name: String) throws -> Field? {
      let path = directory.hasSuffix("/") ? directory + name : "\(directory)/\(name)"
      do throws(FileError) {
        guard let object = try WholeFile.objectIfPresent(path) else { return nil }
        return Field(value: .object(object), path: "", file: path)
      } catch { throw TokenizerError(error.message) }
    }
    let (config, map) = (try read("tokenizer_config.json"), try read("special_tokens_map.json"))
    for file in [config, map, try read("generation_config.json"), try read("config.json")] {
      if let file { numbering.append((file.file, try file.object())) }
    }
    var names = Names(try config?.object() ?? JSON.Object())
    if let decoder = try config?.optional("added_tokens_decoder") {
      hints = try map?.object() ?? JSON.Object()
      for (key, entry) in try decoder.object() {
        guard let index = Int(key.description) else { throw decoder.error("\"\(key)\" is no token id") }
        let field = Field(value: entry, path: "\(decoder.path).\(key)", file: decoder.file)
        listed[index] = try AddedTokens.Token(field)
      }
    } else {
      if let map { names.merge(try map.object()) }
      let known = names.spellings
      for (token, index) in try read("added_tokens.json")?.object() ?? JSON.Object() {
        guard let index = index.int else { continue }
        listed[index] = AddedTokens.Token(content: token.utf8, isSpecial: known.contains(token.utf8))
      }
      for entry in try tokenizer.optional("added_tokens")?.elements() ?? [] {
        listed[try entry.required("id").id()] = try AddedTokens.Token(entry)
      }
    }
    let spelled = Dictionary(listed.sorted { $0.key < $1.key }.map { ($1.content, $1) }) { _, last in last }
    if names.values["pad_token"] == nil, let padding = try tokenizer.optional("padding") {
      names.values["pad_token"] = padding.value["pad_token"]
    }
    for key in Self.attributes {
      guard let token = names.token(names.values[key]) else { continue }
      named.append((key, spelled[token.content].map(Named.token) ?? token))
    }
    for (key, value) in names.allSpecific {
      if let token = names.token(value) { named.append((key, token)) }
    }
    extra = names.extra.compactMap { names.token($0) }
  }

  /// The tokens to add to those of the `tokenizer.json`, in order.
  func additions(to present: some Collection<[UInt8]>) -> [AddedTokens.Token] {
    var adding = listed.sorted { $0.key < $1.key }.map { Named.token($1) }
    let known = Set(present).union(adding.map(\.content))
    for token in named.map(\.token) + extra where !known.contains(token.content) && !adding.contains(token) {
      adding.append(token)
    }
    let special = Set(named.map(\.token.content))
    return adding.map { token in
      switch token {
      case .text(let content): AddedTokens.Token(content: content, isSpecial: true)
      case .token(let token): special.contains(token.content) ? token.special : token
      }
    }
  }

  /// The id of `bos`, `eos` or `pad`. A name comes before a number; of several numbers the first counts.
  ///
  /// - Throws: `TokenizerError` for a number that no vocabulary reaches.
  func id(_ kind: String, _ find: ([UInt8]) -> Int?) throws -> Int? {
    let hint = hints["\(kind)_token"].flatMap { $0.text ?? $0["content"]?.text }?.utf8
    for name in [named.first { $0.key == "\(kind)_token" }?.token.content, hint] {
      if let id = name.flatMap(find) { return id }
    }
    for (file, object) in numbering {
      guard let value = object["\(kind)_token_id"], value.text == nil, value.bool == nil else { continue }
      do throws(TokenizerError) { if let id = try TokenIDs(value).ids.first { return id } } catch {
        throw TokenizerError("\(file): \(kind)_token_id \(error)")
      }
    }
    return nil
  }

  /// The keys of `tokenizer_config.json` that name special tokens, while other files are merged into them.
  private struct Names {
    private static let (extraKey, olderKey) = ("extra_special_tokens", "additional_special_tokens")

    var values: JSON.Object
    /// Special tokens of this model alone (`image_token`), by name.
    private var specific = JSON.Object()

    init(_ config: JSON.Object) {
      values = config
      if let older = values[Self.olderKey], !Self.holdsAny(values[Self.extraKey]) {
        values[Self.extraKey] = older
        values[Self.olderKey] = nil
      }
      for (key, value) in config where Self.isSpecific(key.description) {
        if value.text != nil { specific[key] = value }
        // Objects are tokens where they say so.
        if value.text != nil || value["__type"] == nil { values[key] = nil }
      }
      takeNamedExtras()
    }

    /// Takes over `special_tokens_map.json`.
    mutating func merge(_ map: JSON.Object) {
      for (key, value) in map {
        if key.description == Self.extraKey, let list = value.array {
          let present = values[Self.extraKey]?.array ?? []
          values[Self.extraKey] = .array(present + list.filter { !present.contains($0) })
        } else {
          values[key] = value
        }
      }
      takeNamedExtras()
    }

    private mutating func takeNamedExtras() {
      guard let named = values[Self.extraKey]?.object else { return }
      for (key, value) in named { specific[key] = value }
      values[Self.extraKey] = nil
    }

    private static func holdsAny(_ value: JSON?) -> Bool {
      value.map { !($0.array?.isEmpty ?? true) || !($0.object?.entries.isEmpty ?? true) } ?? false
    }

    private static func isSpecific(_ key: String) -> Bool {
      key.hasSuffix("_token") && !TokenSettings.attributes.contains(key)
    }

    /// Tokens of this model alone; those that came as objects, or from another file, are added first.
    var allSpecific: [(key: String, value: JSON)] {
      var all = JSON.Object()
      for (key, value) in values where Self.isSpecific(key.description) { all[key] = value }
      for (key, value) in specific { all[key] = value }
      return all.map { ($0.description, $1) }
    }

    var extra: [JSON] { (values[Self.extraKey] ?? values[Self.olderKey])?.array ?? [] }

    /// The spellings that make a token of `added_tokens.json` a special one.
    var spellings: Set<[UInt8]> {
      let named = TokenSettings.attributes.compactMap { values[$0] }.compactMap { value in
        value.text ?? (value["__type"] == nil ? value["content"]?.text : nil)
      }
      return Set((named + (values[Self.extraKey]?.array ?? []).compactMap(\.text)).map(\.utf8))
    }

    func token(_ value: JSON?) -> Named? {
      if let text = value?.text { return .text(text.utf8) }
      guard let value, value.object != nil, let content = value["content"]?.text else { return nil }
      let flag = { (key: String) in value[key]?.bool }
      // Only what `save_pretrained` marked as a token says itself whether it is special.
      let isSpecial = value["__type"] == nil || (flag("special") ?? false)
      return .token(
        AddedTokens.Token(
          content: content.utf8, isSpecial: isSpecial, isSingleWord: flag("single_word") ?? false,
          stripsLeft: flag("lstrip") ?? false, stripsRight: flag("rstrip") ?? false,
          isNormalized: flag("normalized")))
    }
  }
}
