import ChatTemplates
import Foundation
import JSON
import TestSupport
import Testing

/// Where templates and special tokens are found.
@Suite struct TemplateFilesTests {
  private static let hello = JSON.array([.object([("role", .text("user")), ("content", .text("Hello"))])])
  private static let tools = JSON.array([.object([("name", .text("t"))])])

  private func render(_ files: [String: String], tools: JSON? = nil) throws -> String {
    try withTemporaryDirectory { directory in
      for (name, text) in files {
        let url = URL(fileURLWithPath: directory + "/" + name)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
      }
      return try ChatTemplate(directory: directory).render(messages: Self.hello, tools: tools)
    }
  }

  @Test func aFileOfItsOwnComesBeforeTheConfig() throws {
    let config = #"{"chat_template": "config {{ bos_token }}", "bos_token": "<s>"}"#
    #expect(try render(["tokenizer_config.json": config]) == "config <s>")
    let both = ["tokenizer_config.json": config, "chat_template.jinja": "file {{ bos_token }}"]
    #expect(try render(both) == "file <s>")
    #expect(try render(["chat_template.jinja": "alone"]) == "alone")
  }

  @Test func tokensOfOneModelAloneAreThereByTheirNames() throws {
    let template = "{{ image_token }}{{ boi }}{{ bos_token }}"
    let config = #"{"bos_token": "<s>", "image_token": "<img>", "extra_special_tokens": {"boi": {"content": "<boi>"}}}"#
    #expect(try render(["chat_template.jinja": template, "tokenizer_config.json": config]) == "<img><boi><s>")
    let map = #"{"image_token": "<map>"}"#
    #expect(try render(["chat_template.jinja": template, "special_tokens_map.json": map]) == "<map>")
  }

  @Test func aListOfTemplatesHasOneForTools() throws {
    let config =
      #"{"chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]}"#
    #expect(try render(["tokenizer_config.json": config]) == "plain")
    #expect(try render(["tokenizer_config.json": config], tools: Self.tools) == "tools")
    #expect(try render(["tokenizer_config.json": config], tools: .array([])) == "tools")
    #expect(try render(["tokenizer_config.json": config], tools: .null) == "plain")
    let files = [
      "chat_template.jinja": "plain file", "additional_chat_templates/tool_use.jinja": "tools file",
      "tokenizer_config.json": config,
    ]
    #expect(try render(files) == "plain file")
    #expect(try render(files, tools: Self.tools) == "tools file")
  }

  @Test func tokensAreTextOrObjects() throws {
    let template = "{{ bos_token }}{{ eos_token }}{{ pad_token is defined }}{{ unk_token }}"
    let config = """
      {"bos_token": {"__type": "AddedToken", "content": "<b>"}, "eos_token": {"content": "<e>"}, "pad_token": null,
       "unk_token": "<u>", "added_tokens_decoder": {}}
      """
    #expect(try render(["tokenizer_config.json": config, "chat_template.jinja": template]) == "<b><e>False<u>")
    let map = #"{"bos_token": "<map>", "eos_token": {"content": "<end>"}}"#
    let older = ["special_tokens_map.json": map, "chat_template.jinja": template]
    #expect(try render(older) == "<map><end>False")
  }

  @Test func whatIsMissingIsSaidWithWhatToDo() throws {
    func error(_ files: [String: String], _ tools: JSON? = nil) -> TemplateError? {
      #expect(throws: TemplateError.self) { try render(files, tools: tools) }
    }
    let none = error(["tokenizer_config.json": "{}"])
    #expect(none?.kind == .missing)
    #expect("\(none.map { "\($0)" } ?? "")".contains("has no chat template: expected chat_template.jinja"))
    let named = error(["additional_chat_templates/rag.jinja": "x"])
    #expect("\(named.map { "\($0)" } ?? "")".contains("none called \"default\": rag"))
    #expect(error(["tokenizer_config.json": "{\"chat_template\": 1}"])?.kind == .missing)
    #expect(error(["tokenizer_config.json": "{\"chat_template\": [1]}"])?.kind == .missing)
    #expect(error(["tokenizer_config.json": "not json"])?.kind == .missing)
    let broken = error(["chat_template.jinja": "a\n{{ b"])
    #expect(broken?.kind == .syntax)
    #expect("\(broken.map { "\($0)" } ?? "")".contains("chat_template.jinja, line 2"))
    #expect(error(["chat_template.jinja": "x"], .array([.int(1)]))?.kind == .input)
    #expect(error(["chat_template.jinja": "x"], .text("t"))?.kind == .input)
  }

  /// Arguments of tool calls that came as text are objects for calibration, and text for `render`.
  @Test func calibrationParsesArguments() throws {
    let template = try ChatTemplate(
      source:
        "{% for m in messages %}{% for c in m.tool_calls %}{{ c.function.arguments if c.function is defined else c.arguments }};{% endfor %}{% endfor %}"
    )
    func call(_ arguments: JSON) -> JSON {
      .object([("function", .object([("name", .text("f")), ("arguments", arguments)]))])
    }
    let calls: [JSON] = [
      call(.text("{\"a\": 1}")), call(.text("[1]")), call(.text("not json")), call(.object([("b", .null)])),
      call(.null),
      .object([("arguments", .text("{\"c\": 2.0}"))]), .text("none"),
    ]
    let messages = JSON.array([
      .object([("role", .text("assistant")), ("tool_calls", .array(Array(calls.dropLast())))])
    ])
    #expect(
      try template.calibrationText(messages: messages, tools: nil) == "{'a': 1};{};{};{'b': None};{};{'c': 2.0};")
    #expect(try template.render(messages: messages).hasPrefix("{\"a\": 1};[1];not json;"))
  }

  @Test func linesAreAnsweredOneByOne() throws {
    var lines = ConversationLines(
      try ChatTemplate(source: "{{ messages[0].content }}{{ add_generation_prompt }}{{ x }}"))
    func answer(_ line: String) -> String { lines.answer(Array(line.utf8)) }
    #expect(answer(#"{"messages": [{"role": "user", "content": "é\n"}], "x": 1}"#) == #""é\nFalse1""#)
    #expect(answer(#"{"messages": [{"role": "user"}], "add_generation_prompt": true}"#) == #""True""#)
    #expect(
      answer(#"{"messages": [{"content": 1}], "chat_template": "own {{ messages[0].content + 1 }}"}"#) == #""own 2""#)
    #expect(
      answer(#"{"messages": [{"content": 1}], "chat_template": "{{ 1 + }}"}"#).hasPrefix(
        #"{"error": "chat template, line 1"#))
    for bad in ["", "{", "[]", "{}", #"{"messages": []}"#, #"{"messages": "x"}"#, #"{"messages": [{}], "tools": 1}"#] {
      #expect(answer(bad).hasPrefix(#"{"error": ""#), "\(bad)")
    }
  }
}
