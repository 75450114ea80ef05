public import JSON

/// The chat template of a checkpoint: how a conversation becomes the text that the model was trained on.
///
/// Renders what `apply_chat_template` of transformers 5.24 renders, byte for byte, and raises where that raises. A
/// template cannot do anything else: it sees the conversation, and has limits of work, memory and depth.
public struct ChatTemplate: Sendable {
  private let plain: Program?
  /// The one for conversations with tools, where there is one of its own.
  private let withTools: Program?
  private let tokens: [(name: Text, token: Text)]
  /// Names of all templates, for messages.
  private let names: [String]
  private let place: String
  /// All that decides what it renders: the texts of the templates and the special tokens.
  public let identity: [UInt8]

  /// The template of a tokenizer's directory in Hugging Face's layout.
  ///
  /// `chat_template.jinja` and `additional_chat_templates/*.jinja` come before `chat_template` in
  /// `tokenizer_config.json`; the special tokens that templates ask for come from there and from
  /// `special_tokens_map.json`.
  ///
  /// - Throws: `TemplateError`: missing where there is no template or a file cannot be read, syntax for a template that
  ///   cannot be used.
  public init(directory: String) throws {
    let files = try TemplateFiles(directory: directory)
    guard !files.templates.isEmpty else {
      throw TemplateError(
        .missing,
        "\(directory) has no chat template: expected chat_template.jinja, or \"chat_template\" in tokenizer_config.json. "
          + "Base models have none; put the chat_template.jinja of the model's instruct version there")
    }
    try self.init(files.templates, files.tokens, place: directory)
  }

  /// A template by its text.
  ///
  /// - Parameter specialTokens: variables of the template: `bos_token`, `eos_token`, …
  /// - Throws: `TemplateError`, syntax or budget.
  public init(source: String, specialTokens: [String: String] = [:]) throws {
    try self.init(
      [TemplateFiles.Template(name: "default", place: "chat template", source: Array(source.utf8))],
      specialTokens.map { (Text($0), Text($1)) }, place: "chat template")
  }

  /// Another template with the same special tokens.
  func with(source: [UInt8]) throws -> ChatTemplate {
    try ChatTemplate(
      [TemplateFiles.Template(name: "default", place: "chat template", source: source)],
      tokens.map { ($0.name, $0.token) }, place: place)
  }

  private init(_ templates: [TemplateFiles.Template], _ tokens: [(Text, Text)], place: String) throws {
    func program(_ name: String) throws -> Program? {
      try templates.last { $0.name == name }.map { try Program($0.source, name: $0.place) }
    }
    plain = try program("default")
    withTools = try program("tool_use")
    self.tokens = tokens
    names = templates.map(\.name)
    identity = Array(
      templates.flatMap { Array("\($0.name)\0".utf8) + $0.source + [0] }
        + tokens.flatMap { Array("\($0.0)=\($0.1)\0".utf8) })
    self.place = place
  }

  /// The text of a conversation.
  ///
  /// - Parameters:
  ///   - messages: a list of objects with `role` and `content`, as a rule.
  ///   - tools: a list of JSON schemas; null is as good as nil.
  ///   - addGenerationPrompt: whether the text ends where the assistant's answer begins.
  ///   - variables: further variables of the template (`enable_thinking`, `documents`); they come before the special
  ///     tokens.
  /// - Throws: `TemplateError`.
  public func render(
    messages: JSON, tools: JSON? = nil, addGenerationPrompt: Bool = false, variables: JSON.Object = JSON.Object()
  ) throws -> String {
    var variables = variables
    variables["add_generation_prompt"] = .bool(addGenerationPrompt)
    return try rendered(messages: messages, tools: tools, variables: variables)
  }

  /// The same, with `add_generation_prompt` among the variables, whatever it holds.
  package func rendered(messages: JSON, tools: JSON?, variables: JSON.Object, clock: Clock = .now) throws -> String {
    var input = Input()
    var values = Dictionary(tokens.map { ($0.name, Value.text($0.token)) }) { $1 }
    values["add_generation_prompt"] = .bool(false)
    values["documents"] = Value.none
    for (name, value) in variables {
      if name.description == "documents" { try Self.check(value, "documents") }
      values[Text(name.utf8)] = try input.value(value)
    }
    let tools = tools.flatMap { $0.isNull ? nil : $0 }
    if let tools { try Self.check(tools, "tools") }
    values["tools"] = try tools.map { try input.value($0) } ?? Value.none
    values["messages"] = try input.messages(messages)
    let program = try program(hasTools: tools != nil)
    let text = try program.render(values, inputBytes: input.bytes, clock: clock)
    return String(decoding: text, as: UTF8.self)
  }

  private func program(hasTools: Bool) throws -> Program {
    if hasTools, let withTools { return withTools }
    if let plain { return plain }
    throw TemplateError(
      .missing,
      "\(place) has several chat templates and none called \"default\": \(names.sorted().joined(separator: ", ")). Put the "
        + "one that is meant into chat_template.jinja")
  }

  /// Tools and documents are lists of objects.
  private static func check(_ value: JSON, _ name: String) throws {
    if value.isNull { return }
    guard let items = value.array else {
      throw TemplateError(.input, "\"\(name)\" is \(value.kind), where a list of objects should be")
    }
    for item in items where item.object == nil {
      throw TemplateError(.input, "\"\(name)\" holds \(item.kind), where objects should be")
    }
  }
}

/// Makes values of JSON, counting bytes.
struct Input {
  private(set) var bytes = 0

  mutating func value(_ json: JSON) throws -> Value {
    bytes += 16
    switch json {
    case .null: return .none
    case .bool(let value): return .bool(value)
    case .number(let number): return try Self.number(number.spelling)
    case .string(let text):
      bytes += text.utf8.count
      return .text(Text(text.utf8))
    case .array(let items):
      var values: [Value] = []
      values.reserveCapacity(items.count)
      for item in items { values.append(try value(item)) }
      return .list(try List(values))
    case .object(let object): return .dict(try dict(object))
    }
  }

  private mutating func dict(_ object: JSON.Object, without isDropped: (JSON) -> Bool = { _ in false }) throws -> Dict {
    var (keys, values) = ([Value](), [Value]())
    for (key, value) in object where !isDropped(value) {
      bytes += key.utf8.count
      keys.append(.text(Text(key.utf8)))
      values.append(try self.value(value))
    }
    return try Dict(keys: keys, values: values)
  }

  private static func number(_ spelling: String) throws -> Value {
    switch spelling {
    case "NaN": return .float(.nan)
    case "Infinity": return .float(.infinity)
    case "-Infinity": return .float(-.infinity)
    default: break
    }
    if let int = Int(spelling) { return .int(int) }
    if spelling.utf8.contains(where: { $0 == UInt8(ascii: ".") || $0 | 0x20 == UInt8(ascii: "e") }) {
      return .float(Double(spelling) ?? .nan)
    }
    guard let value = BigInt(decimal: Array(spelling.utf8)) else {
      throw TemplateError(.input, "a number of more than \(BigInt.maximumDigits) digits")
    }
    return .integer(value)
  }

  /// Reasoning by all the names that templates know it by.
  private static let reasoning: [Text] = ["reasoning_content", "thinking", "reasoning"]

  /// Messages as templates see them: members that are null left out, and reasoning under every name.
  ///
  /// Source: `_normalize_chat_messages` and `_alias_reasoning_fields` of transformers 5.24.
  mutating func messages(_ json: JSON) throws -> Value {
    guard let messages = json.array else {
      throw TemplateError(.input, "the conversation is \(json.kind), where a list of messages should be")
    }
    guard !messages.isEmpty else {
      throw TemplateError(.input, "the conversation has no messages; at least one is needed")
    }
    var values: [Value] = []
    for (index, message) in messages.enumerated() {
      guard let object = message.object else {
        throw TemplateError(.input, "message \(index + 1) is \(message.kind), where an object with \"role\" should be")
      }
      let dict = try dict(object) { $0.isNull }
      guard let reasoning = Self.reasoning.lazy.compactMap({ dict[$0] }).first else {
        values.append(.dict(dict))
        continue
      }
      var pairs = Array(zip(dict.keys, dict.values))
      if dict["thinking"] == nil { pairs.insert((.text("thinking"), reasoning), at: 0) }
      // The message's own members come after a first "thinking", in whose place its own value stands then.
      if let own = dict["thinking"] {
        pairs.removeAll { $0.0.text == "thinking" }
        pairs.insert((.text("thinking"), own), at: 0)
      }
      pairs.append((.text("reasoning_content"), reasoning))
      values.append(.dict(try Dict(pairs)))
    }
    return .list(try List(values))
  }
}
