import Datasets
import Foundation
import JSON
import Jobs
import TestSupport
import Testing
import Tokenization

/// Answers with reasoning in them: in the form that the template writes as the model did.
@Suite struct AnswerFormTests {
  private func answered(
    _ template: String, _ answer: String, thinks: Bool? = nil,
    messages: String = #"[{"role": "user", "content": "Why?"}]"#
  ) throws -> (prompt: String, last: JSON?, count: Int) {
    try withTemporaryDirectory { directory in
      for file in ["tokenizer.json", "tokenizer_config.json"] {
        try FileManager.default.copyItem(
          atPath: Golden.root + "/Examples/model/" + file, toPath: directory + "/" + file)
      }
      try Data(template.utf8).write(to: URL(fileURLWithPath: directory + "/chat_template.jinja"))
      let encoder = try PromptEncoder(tokenizer: Tokenizer(directory: directory), directory: directory, thinks: thinks)
      let conversation = Conversation(messages: try JSON(parsing: Array(messages.utf8)))
      let prompt = try encoder.render(conversation)
      let row = encoder.answered(RenderedConversation(conversation: conversation, text: prompt), answer)
      let found = row["messages"]?.array ?? []
      return (prompt, found.last, found.count)
    }
  }

  private static let start = "{% for m in messages %}[{{ m.role }}]"
  private static let end = "{% endfor %}{% if add_generation_prompt %}[assistant]"

  @Test func reasoningStandsWhereTheTemplateWritesIt() throws {
    // As Qwen3 does: reasoning within the content is written as it is.
    let inner = Self.start + "{{ m.content }}" + Self.end + "{% endif %}"
    let kept = try answered(inner, "<think>\nSo.\n</think>\n\nYes.\n")
    #expect(kept.last?["content"]?.string == "<think>\nSo.\n</think>\n\nYes.\n" && kept.count == 2)
    #expect(kept.last?["reasoning_content"] == nil)
    // Templates that drop it from the content, and write the member of its own.
    let own =
      Self.start + "{% if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
      + "{{ m.content.split('</think>')[-1] }}" + Self.end + "{% endif %}"
    let split = try answered(own, "<think>\nSo.\n</think>\n\nYes.")
    #expect(split.last?["content"]?.string == "Yes." && split.last?["reasoning_content"]?.string == "So.")
    #expect(try answered(own, "Yes.").last?["content"]?.string == "Yes.")
  }

  @Test func whatThePromptBeginsBelongsToTheAnswer() throws {
    let opens = Self.start + "{{ m.content }}" + Self.end + "{% if enable_thinking %}<think>\n{% endif %}{% endif %}"
    let thought = try answered(opens, "So.\n</think>\n\nYes.", thinks: true)
    #expect(thought.prompt == "[user]Why?[assistant]<think>\n")
    #expect(thought.last?["content"]?.string == "<think>\nSo.\n</think>\n\nYes.")
    #expect(try answered(opens, "Yes.", thinks: false).last?["content"]?.string == "Yes.")
    #expect(try answered(opens, "Yes.").prompt == "[user]Why?[assistant]")
    // Closed at once, and somebody's own words.
    let closes = Self.start + "{{ m.content }}" + Self.end + "<think>\n\n</think>\n\n{% endif %}"
    #expect(try answered(closes, "Yes.").last?["content"]?.string == "Yes.")
    let words = #"[{"role": "user", "content": "Say <think> twice"}]"#
    #expect(
      try answered(Self.start + "{{ m.content }}{% endfor %}", "Yes.", messages: words).last?["content"]?.string
        == "Yes.")
  }

  @Test func onlyWhatComesBeforeTheFirstAnswerIsAsked() throws {
    let plain = Self.start + "{{ m.content }}" + Self.end + "{% endif %}"
    let long = #"""
      [{"role": "system", "content": "S"}, {"role": "user", "content": "1"}, {"role": "assistant", "content": "old"},
       {"role": "user", "content": "2"}]
      """#
    let found = try answered(plain, "new", messages: long)
    #expect(found.prompt == "[system]S[user]1[assistant]" && found.count == 3)
    #expect(try answered(plain, "new", messages: #"[{"role": "assistant", "content": "old"}]"#).prompt.isEmpty)
  }
}
