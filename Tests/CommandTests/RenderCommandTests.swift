import Foundation
import JSON
import TestSupport
import Testing

/// Conversations on the command line.
@Suite struct RenderCommandTests {
  /// The bundled model with another chat template, or none.
  private func withChatModel(
    _ template: String?, _ body: (String) throws -> Void
  ) throws {
    try withTemporaryDirectory { directory in
      for name in try FileManager.default.contentsOfDirectory(atPath: Program.model)
      where template != nil || name != "tokenizer_config.json" {
        try FileManager.default.createSymbolicLink(
          atPath: directory + "/" + name, withDestinationPath: Program.model + "/" + name)
      }
      if let template {
        try Data(template.utf8).write(to: URL(fileURLWithPath: directory + "/chat_template.jinja"))
      }
      try body(directory)
    }
  }

  private static let template = """
    {% for m in messages %}<{{ m.role }}>{{ m.content }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}
    """

  @Test func everyLineIsAnswered() throws {
    try withChatModel(Self.template) { model in
      let input = """
        {"messages": [{"role": "user", "content": "Héllo\\n"}], "add_generation_prompt": true}
        not json
        {"messages": []}
        {"messages": [{"role": "user", "content": "x"}]}
        """
      let result = try Program.run(["render", "--hf_model_name_or_path", model], input: input)
      result.expectSuccess()
      let lines = result.output.split(separator: "\n").map(String.init)
      #expect(lines.count == 4)
      let first = try #require(try JSON(parsing: lines[0]).string)
      #expect(first.hasPrefix("<user>Héllo\n") && first.hasSuffix("<assistant>"))
      #expect(try JSON(parsing: lines[1])["error"]?.string?.contains("not valid JSON") ?? false)
      #expect(try JSON(parsing: lines[2])["error"]?.string?.contains("no messages") ?? false)
      #expect(try JSON(parsing: lines[3]).string?.hasPrefix("<user>x") ?? false)
    }
  }

  @Test func aModelWithoutATemplateIsAnError() throws {
    try withChatModel(nil) { model in
      let result = try Program.run(["render", "--hf_model_name_or_path", model], input: "{}\n")
      #expect(result.code == 1 && result.output.isEmpty)
      #expect(result.error.contains("has no chat template: expected chat_template.jinja"))
      let chat = try Program.run(
        ["generate", "--hf_model_name_or_path", model, "--prompt", "x", "--chat", "--max_new_tokens", "1"])
      #expect(chat.code == 1 && chat.error.contains("has no chat template"))
    }
  }

  @Test func aPromptBecomesAMessage() throws {
    try withChatModel(
      "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}"
    ) { model in
      func generate(_ arguments: [String]) throws -> JSON {
        let result = try Program.run(
          ["generate", "--hf_model_name_or_path", model, "--max_new_tokens", "4", "--json", "--quiet"] + arguments)
        result.expectSuccess()
        return try #require(result.json)
      }
      let chat = try generate(["--prompt", "Hello", "--chat", "--system", "Be brief"])
      let plain = try generate(["--prompt", "system: Be brief\nuser: Hello\nassistant:", "--no_special_tokens"])
      #expect(chat["tokens"] == plain["tokens"] && chat["prompt_tokens"] == plain["prompt_tokens"])
      let alone = try generate(["--prompt", "Hello", "--chat"])
      let same = try generate(["--prompt", "user: Hello\nassistant:", "--no_special_tokens"])
      #expect(alone["tokens"] == same["tokens"] && alone["prompt_tokens"] == same["prompt_tokens"])
    }
    let usage = try Program.run(
      ["generate", "--hf_model_name_or_path", Program.model, "--prompt", "x", "--system", "y"])
    #expect(usage.code == 64 && usage.error.contains("add --chat"))
  }
}
