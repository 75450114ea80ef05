import Files
import JSON

/// The chat templates and special tokens of a tokenizer's directory.
///
/// Source: `PreTrainedTokenizerBase._from_pretrained` and `special_tokens_map` of transformers 5.24.
struct TemplateFiles {
  struct Template {
    let name: String
    /// The file, and the template in it where it holds several.
    let place: String
    let source: [UInt8]
  }

  private(set) var templates: [Template] = []
  private(set) var tokens: [(Text, Text)] = []

  private static let attributes = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// - Throws: `TemplateError`, missing, where a file cannot be read or is of the wrong shape.
  init(directory: String) throws {
    do {
      let file = join(directory, "tokenizer_config.json")
      let config = try WholeFile.objectIfPresent(file) ?? JSON.Object()
      try readFiles(directory)
      if templates.isEmpty { try read(config["chat_template"] ?? .null, file) }
      try readTokens(config, directory)
    } catch let error as FileError { throw TemplateError(.missing, error.message) }
  }

  private mutating func readFiles(_ directory: String) throws {
    func read(_ path: String, _ name: String) throws {
      let source = try WholeFile.read(path, limit: Program.maximumSource)
      templates.append(Template(name: name, place: path, source: source))
    }
    let main = join(directory, "chat_template.jinja")
    if kind(of: main) != .absent { try read(main, "default") }
    let others = join(directory, "additional_chat_templates")
    guard kind(of: others) == .directory else { return }
    for name in try names(in: others) where name.hasSuffix(".jinja") {
      try read(join(others, name), String(name.dropLast(".jinja".count)))
    }
  }

  private mutating func read(_ value: JSON, _ file: String) throws {
    switch value {
    case .null: break
    case .string(let text):
      templates.append(Template(name: "default", place: "\"chat_template\" in \(file)", source: text.utf8))
    case .array(let entries):
      for entry in entries {
        guard let name = entry["name"]?.string, let source = entry["template"]?.text else {
          throw TemplateError(.missing, "\(file): \"chat_template\" lists something without \"name\" and \"template\"")
        }
        templates.append(
          Template(name: name, place: "\"chat_template\" (\(name)) in \(file)", source: source.utf8))
      }
    case .object(let named):
      for (name, source) in named {
        guard let source = source.text else {
          throw TemplateError(.missing, "\(file): \"chat_template\" holds \(source.kind), where text should be")
        }
        let place = "\"chat_template\" (\(name)) in \(file)"
        templates.append(Template(name: name.description, place: place, source: source.utf8))
      }
    default:
      throw TemplateError(.missing, "\(file): \"chat_template\" is \(value.kind), where text or a list should be")
    }
  }

  private mutating func readTokens(_ config: JSON.Object, _ directory: String) throws {
    var values = config
    if config["added_tokens_decoder"] == nil,
      let map = try WholeFile.objectIfPresent(join(directory, "special_tokens_map.json"))
    {
      for (name, value) in map { values[name] = value }
    }
    let own = values.map(\.0.description).filter { $0.hasSuffix("_token") && !Self.attributes.contains($0) }
    var named = Self.attributes + own
    // What a tokenizer's class has where its files say nothing, not even null.
    let defaults = Self.defaults(of: config["tokenizer_class"]?.string ?? "")
    for name in Self.attributes where values[name] == nil { values[name] = defaults[name].map(JSON.text) }
    if values["pad_token"] == nil, templates.contains(where: { Text($0.source).contains("pad_token") }) {
      let file = join(directory, "tokenizer.json")
      values["pad_token"] = try WholeFile.objectIfPresent(file, limit: Self.largestTokenizer)?["padding"]?["pad_token"]
    }
    // Also those of this model alone: `image_token`, and what `extra_special_tokens` names.
    for (name, value) in values["extra_special_tokens"]?.object ?? JSON.Object() where values[name] == nil {
      values[name] = value
      named.append(name.description)
    }
    for name in named {
      guard let value = values[name], let text = value.text ?? value["content"]?.text else { continue }
      tokens.append((Text(name), Text(text.utf8)))
    }
  }

  private static let largestTokenizer = 1 << 29

  /// Special tokens of a tokenizer's class, as its `__init__` has them in transformers 5.24.
  private static func defaults(of tokenizerClass: String) -> [String: String] {
    let name = tokenizerClass.hasSuffix("Fast") ? String(tokenizerClass.dropLast(4)) : tokenizerClass
    switch name {
    case "LlamaTokenizer", "CodeLlamaTokenizer":
      return ["bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"]
    case "Qwen2Tokenizer", "Qwen3_5Tokenizer":
      let end = "<|endoftext|>"
      return ["eos_token": end, "unk_token": end, "pad_token": end]
    case "GPT2Tokenizer":
      let end = "<|endoftext|>"
      return ["bos_token": end, "eos_token": end, "unk_token": end]
    case "GPTNeoXTokenizer":
      let end = "<|endoftext|>"
      return ["bos_token": end, "eos_token": end, "unk_token": end, "pad_token": "<|padding|>"]
    case "GemmaTokenizer":
      return [
        "bos_token": "<bos>", "eos_token": "<eos>", "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
      ]
    case "CohereTokenizer":
      return [
        "bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>", "unk_token": "<UNK>", "sep_token": "<SEP>",
        "pad_token": "<PAD>", "cls_token": "<CLS>", "mask_token": "<MASK_TOKEN>",
      ]
    default: return [:]
    }
  }
}
