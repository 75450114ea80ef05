import ChatTemplates
import JSON
import Testing

/// What a template makes of values, where Python's way is not the only one.
@Suite struct RenderingTests {
  static func render(_ source: String, _ variables: [(String, JSON)] = []) throws -> String {
    try ChatTemplate(source: source).render(
      messages: .array([.object([("role", .text("user")), ("content", .text("Hello"))])]),
      variables: JSON.Object(variables))
  }

  @Test(
    arguments: [
      ("{{ messages[0].content }}", "Hello"),
      ("{{ [1, 2.0, 'a', none, true] }}", "[1, 2.0, 'a', None, True]"),
      ("{{ {'a': [1], \"it's\": '\"'} }}", #"{'a': [1], "it's": '"'}"#),
      ("{{ 1e16 }} {{ 1e15 }} {{ 0.1 + 0.2 }} {{ 1e-5 }}", "1e+16 1000000000000000.0 0.30000000000000004 1e-05"),
      ("{{ -7 // 2 }} {{ -7 % 3 }} {{ 2 ** 70 }} {{ 7 / 2 }}", "-4 2 1180591620717411303424 3.5"),
      ("{{ 9223372036854775807 + 1 }}", "9223372036854775808"),
      ("{{ 'héllo😀'[::-1] }} {{ 'héllo😀'[1:3] }} {{ 'e\u{301}'|length }}", "😀olléh él 2"),
      ("{{ 'Straße ﬁ ẞ'.casefold() }} {{ 'ΑΣ'.casefold() }} {{ 'ıİ'.casefold() }}", "strasse fi ss ασ ıi\u{307}"),
      ("{{ missing }}|{{ missing is defined }}|{{ missing|default('x') }}", "|False|x"),
      ("{{ {'b': 'é<', 'a': 1.0}|tojson }}", #"{"b": "é<", "a": 1.0}"#),
      ("{{ ('<'|safe) + '<' }}", "<&lt;"),
      ("{% for x in [1, 2] %}{% break %}{% else %}none{% endfor %}", "none"),
      ("{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1"),
      ("{% set n = namespace(x=1) %}{% for i in [1] %}{% set n.x = 2 %}{% endfor %}{{ n.x }}", "2"),
      ("  {% if true %}\n a\n  {% endif %}\nb\n", " a\nb"),
      ("{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, b=3) }}", "1213"),
      ("{% call m() %}x{% endcall %}{% macro m() %}{% endmacro %}", nil),
      ("{{ '%s and %5.1f' % ('a', 2) }} {{ '{:>3}'.format(7) }}", "a and   2.0   7"),
    ] as [(String, String?)])
  func valuesAreWrittenAsPythonWritesThem(_ source: String, _ expected: String?) throws {
    guard let expected else {
      #expect(throws: TemplateError.self) { try Self.render(source) }
      return
    }
    #expect(Array(try Self.render(source).utf8) == Array(expected.utf8))
  }

  @Test(arguments: [
    "{{ missing.x }}", "{{ missing + 1 }}", "{{ 1 < 'a' }}", "{{ 'a' + 1 }}", "{{ [].append(1) }}", "{{ 1 // 0 }}",
    "{% set n = namespace() %}{% set n._a = 1 %}", "{% set x = {} %}{% set x.a = 1 %}", "{{ range(100001) }}",
    "{{ missing|tojson }}", "{% for a, b in [[1]] %}{% endfor %}", "{{ none|length }}", "{{ ''.__class__.__mro__ }}",
    "{% include 'x' %}",
  ])
  func whatPythonRefusesIsAnError(_ source: String) throws {
    let error = #expect(throws: TemplateError.self) { try Self.render(source) }
    #expect(error?.kind == .raised)
    #expect(error?.line == 1)
  }

  @Test(arguments: [
    "{{ x", "{% if x %}", "{% endif %}", "{{ 'x }}", "{{ x|unknown }}", "{% for %}{% endfor %}", "{# x", "{% raw %}",
    "{{ a b }}", "{% set true = 1 %}", "{{ (1 }}", "{% break %}", "{{ f(a=1, a=2) }}", "{% block x %}{% endblock %}",
  ])
  func whatIsNoTemplateIsRefused(_ source: String) throws {
    let error = #expect(throws: TemplateError.self) { try ChatTemplate(source: source) }
    #expect(error?.kind == .syntax)
  }

  @Test func anErrorNamesTheLine() throws {
    let error = #expect(throws: TemplateError.self) {
      try Self.render(
        "one\n{% for m in messages %}\n{{ m.content }}\n{{ raise_exception('no ' ~ m.role) }}{% endfor %}")
    }
    #expect(error?.line == 4)
    #expect("\(error.map { "\($0)" } ?? "")" == "chat template, line 4: no user")
    let syntax = #expect(throws: TemplateError.self) { try ChatTemplate(source: "a\n\n{{ 1 + }}") }
    #expect(syntax?.line == 3)
  }

  @Test func reasoningIsFoundUnderEveryName() throws {
    let template = try ChatTemplate(
      source: "{{ messages[0].reasoning_content }}{{ messages[0].thinking }}{{ messages[0].reasoning is defined }}")
    for name in ["reasoning_content", "thinking", "reasoning"] {
      let message = JSON.object([("role", .text("assistant")), (name, .text("because")), ("content", .null)])
      let text = try template.render(messages: .array([message]))
      #expect(text == "becausebecause\(name == "reasoning" ? "True" : "False")")
    }
  }

  @Test(arguments: ["[]", "{}", "null", "\"x\"", "[1]", "[[{\"role\": \"user\"}]]"])
  func whatIsNoConversationIsRefused(_ messages: String) throws {
    let template = try ChatTemplate(source: "{{ messages }}")
    let error = #expect(throws: TemplateError.self) { try template.render(messages: JSON(parsing: messages)) }
    #expect(error?.kind == .input)
  }
}
