import ChatTemplates
import Foundation
import JSON
import TestSupport
import Testing

/// A template comes from whoever published a checkpoint. It can fail; it can do nothing else.
@Suite struct HostileTests {
  @Test(arguments: [
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ 'x' * 10**9 }}", "{{ 'x' * 10**30 }}", "{{ [1] * 10**9 }}", "{{ (1, 2) * 10**18 }}",
    "{{ 10**10**10**10**10**10 }}",
    "{{ 2**100000 }}", "{{ 'x'|center(10**9) }}", "{{ 'x'.ljust(10**12) }}", "{{ 'a\\nb'|indent(10**10) }}",
    "{{ '%1000000000d' % 1 }}", "{{ '{:1000000000}'.format(1) }}", "{{ '%.1000000000f' % 1 }}", "{{ range(10**9) }}",
    "{% set n = namespace(x='xxxxxxxx') %}{% for a in range(100) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for a in range(100) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[]) %}{% for a in range(100000) %}{% set n.x = [n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x={}) %}{% for a in range(100000) %}{% set n.x = {'a': n.x} %}{% endfor %}{{ n.x|tojson }}",
    "{% set n = namespace(x='a') %}{% for a in range(100000) %}{% set n.x = [n.x].count %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for a in range(100000) %}{% set n.x = n.x|map('string') %}{% endfor %}{{ n.x|list }}",
    "{% set n = namespace(x=[1]) %}{% for a in range(100000) %}{% for b in [n.x] %}{% set n.x = loop %}{% endfor %}{% endfor %}",
    "{% for a in [[1]] recursive %}{{ loop([a]) }}{% endfor %}",
    "{{ ('a' * 100000).replace('a', 'b' * 100000) }}",
    "{{ ('a' * 1000000).split('a')|map('string')|join('x' * 10000) }}",
    "{{ ('a' * 10000000)|list }}", "{{ (['a' * 1000000] * 100000)|join }}",
    "{% for i in range(100000) %}{{ 'x' * 1000000 }}{% endfor %}",
    "{{ range(100000)|batch(1, 'x')|map('batch', 10**9, 0)|map('list')|list }}",
    "{% for i in range(100000) %}{{ range(100000)|sort }}{% endfor %}", "{{ [range(100000)|list] * 100000 }}",
    "{{ ('x' * 100)|batch(10**12, 1)|list }}", "{{ [1]|slice(10**12)|list }}", "{{ 9**9**9**9**9**9 % 7 }}",
    "{{ ('(' * 100000) % 1 }}", "{{ ('{a' * 100000).format() }}",
  ])
  func aTemplateThatWantsTooMuchFails(_ source: String) throws {
    let start = ContinuousClock.now
    #expect(throws: TemplateError.self, "\(source)") { try RenderingTests.render(source) }
    #expect(ContinuousClock.now - start < .seconds(5), "\(source)")
  }

  /// Operations on long values count for what they take, however little they make.
  @Test(arguments: [
    "a == b", "a < b", "b|length", "u[5]", "a|wordcount", "a is lower", "a.rfind('yyyyyyyyyyyyyyyyyyyyy')",
    "('9' * 4000)|int",
    "{a: 1}[b]", "[a]|unique|list", "a ~ b", "10**8000 // 3**4000", "[[a]]|tojson(indent=1000000)", "a|upper",
    "a.center(1)",
  ])
  func longValuesCount(_ operation: String) throws {
    let source = """
      {% set a = 'x' * 20000000 %}{% set b = 'x' * 20000000 %}{% set u = 'é' * 10000000 %}\
      {% for i in range(100000) %}{% for j in range(100000) %}{% set y = \(operation) %}{% endfor %}{% endfor %}
      """
    let start = ContinuousClock.now
    #expect(throws: TemplateError.self) { try RenderingTests.render(source) }
    #expect(ContinuousClock.now - start < .seconds(20))
  }

  @Test func selfReferenceEnds() throws {
    let source = "{% set n = namespace() %}{% set n.x = n %}{% set n.y = [n] %}{{ n }}"
    #expect(try RenderingTests.render(source) == "<Namespace {'x': <Namespace {...}>, 'y': [<Namespace {...}>]}>")
  }

  @Test(arguments: [
    ("(", ")"), ("[", "]"), ("{1:", "}"), ("-", ""), ("not ", ""), ("x[", "]"), ("f(", ")"), ("x|default(", ")"),
    ("1 if ", ""), ("a is in (", ")"),
  ])
  func deepExpressionsAreRefusedOrRendered(_ open: String, _ close: String) throws {
    for depth in [10, 60, 150, 300, 100_000] {
      let source = "{{ " + String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth) + " }}"
      try tolerate { _ = try RenderingTests.render(source) }
    }
  }

  @Test func longChainsAreRefusedOrRendered() throws {
    for (start, link) in [
      ("1", "+1"), ("x", ".a"), ("x", "|string"), ("1", " ~ 1"), ("1", " and 1"), ("x", "()"), ("1", " < 2"),
    ] {
      for count in [100, 5000, 100_000] {
        try tolerate { _ = try RenderingTests.render("{{ \(start)\(String(repeating: link, count: count)) }}") }
      }
    }
    #expect(try RenderingTests.render("{{ 1\(String(repeating: " ~ 1", count: 20_000)) }}").utf8.count == 20_001)
  }

  @Test func deepStatementsAreRefusedOrRendered() throws {
    for (open, close) in [
      ("{% if true %}", "{% endif %}"), ("{% for x in [1] %}", "{% endfor %}"), ("{% set x %}", "{% endset %}"),
      ("{% macro m() %}", "{% endmacro %}"), ("{% filter upper %}", "{% endfilter %}"), ("{% with %}", "{% endwith %}"),
      ("{% generation %}", "{% endgeneration %}"), ("{% call m() %}", "{% endcall %}"),
    ] {
      for depth in [15, 80, 1000, 50_000] {
        let source = String(repeating: open, count: depth) + "x" + String(repeating: close, count: depth)
        try tolerate { _ = try RenderingTests.render(source) }
      }
    }
  }

  @Test func manyBranchesAndNamesAreRefusedOrRendered() throws {
    let source = (0..<20_000).map { "{% if a\($0) %}{% set b\($0) = 1 %}{% endif %}" }.joined()
    let start = ContinuousClock.now
    try tolerate { _ = try RenderingTests.render(source) }
    #expect(ContinuousClock.now - start < .seconds(5))
  }

  @Test func aSmallStackIsEnough() throws {
    let source =
      "{% macro m(n) %}{% if n > 0 %}{% for x in [n] %}{{ m(n - 1) }}{% endfor %}{% endif %}{{ n }}{% endmacro %}{{ m(90) }}"
    let thread = SmallThread { try RenderingTests.render(source) }
    #expect(try thread.result().hasPrefix("0123"))
  }

  /// Macros that call themselves from deep inside of everything there is.
  @Test(arguments: [
    ("[", "]"), ("(1, ", ")"), ("{1: ", "}"), ("m|default(", ")"), ("-", ""), ("not ", ""), ("1 if 0 else ", ""),
    ("'a' ~ (", ")"),
    ("1 + ", ""), ("x[", "]"), ("1 is eq(", ")"), ("1 in [", "]"), ("1 == (", ")"), ("0 or ", ""), ("1 and (", ")"),
    ("m(", ")"),
  ])
  func endlessRecursionEnds(_ open: String, _ close: String) throws {
    for depth in [0, 1, 30, 45] {
      let call = String(repeating: open, count: depth) + "m()" + String(repeating: close, count: depth)
      for body in [
        "{{ \(call) }}", "{% if \(call) %}{% endif %}", "{% for x in \(call) %}{% endfor %}", "{% set x = \(call) %}",
        "{% filter default(\(call)) %}{% endfilter %}", "{% call m(\(call)) %}{% endcall %}",
        "{% for a in [1] if \(call) %}{% endfor %}",
        "{% for a in [1] recursive %}{{ \(call) }}{{ loop([1]) }}{% endfor %}",
        "{% set y %}{% with %}{% generation %}{{ \(call) }}{% endgeneration %}{% endwith %}{% endset %}",
      ] {
        let thread = SmallThread {
          try RenderingTests.render("{% macro m(y=1) %}{{ x }}\(body){{ caller }}{% endmacro %}{{ m() }}")
        }
        #expect(throws: TemplateError.self, "\(body)") { try thread.result() }
      }
    }
  }

  /// Templates changed at random, spliced and nested: an error or a text, within the budget.
  @Test func changedTemplatesOnlyFail() throws {
    let goldens = try ChatGoldens()
    let count = ProcessInfo.processInfo.environment["COPPICE_MUTATIONS"].flatMap { Int($0) } ?? 3000
    var random = SplitMix64(state: 7)
    let sources = try ChatGoldens.names.map { Array(try ChatGoldens.source($0).utf8) }
    var rendered = 0
    for round in 0..<count {
      let source = mutated(sources, &random)
      let start = ContinuousClock.now
      if let template = try? ChatTemplate(
        source: String(decoding: source, as: UTF8.self), specialTokens: goldens.special)
      {
        let entry = goldens.cases[Int.random(in: 0..<goldens.cases.count, using: &random)]
        if (try? ChatGoldens.render(template, entry, goldens.clock)) != nil { rendered += 1 }
      }
      #expect(ContinuousClock.now - start < .seconds(5), "round \(round): \(String(decoding: source, as: UTF8.self))")
    }
    #expect(rendered > count / 20)
  }

  private static let pieces = [
    "{{", "}}", "{%", "%}", "{#", "#}", "-", "'", "\"", "\\", "(", ")", "[", "]", "|", ".", "messages", "loop",
    "{% endif %}",
    "{% endfor %}", "{% else %}", "{% for x in messages %}", "{% macro m(x) %}", "{% endmacro %}", "m(1)", "range(9)",
    "* 99",
    "** 9", "|list", "|join", "|map('string')", "|sort", "is defined", "in", "not", "if", "\u{0}", "é", "\r\n",
    "{% raw %}",
  ].map { Array($0.utf8) }

  private func mutated(_ sources: [[UInt8]], _ random: inout SplitMix64) -> [UInt8] {
    func below(_ limit: Int) -> Int { Int.random(in: 0..<max(1, limit), using: &random) }
    var bytes = sources[below(sources.count)]
    for _ in 0..<(1 + below(3)) {
      let at = below(bytes.count)
      switch below(6) {
      case 0: if !bytes.isEmpty { bytes[at] = UInt8(below(256)) }
      case 1: bytes.insert(contentsOf: Self.pieces[below(Self.pieces.count)], at: at)
      case 2: bytes.removeSubrange(at..<min(bytes.count, at + 1 + below(12)))
      case 3:
        let other = sources[below(sources.count)]
        let start = below(other.count)
        bytes.insert(contentsOf: other[start..<min(other.count, start + below(80))], at: at)
      case 4:
        let end = min(bytes.count, at + below(60))
        bytes.insert(contentsOf: bytes[at..<end], at: end)
      default:
        let end = min(bytes.count, at + below(200))
        bytes.insert(contentsOf: "{% endfor %}".utf8, at: end)
        bytes.insert(contentsOf: "{% for y in messages %}".utf8, at: at)
      }
    }
    return bytes
  }

  private func tolerate(_ body: () throws -> Void) throws {
    do { try body() } catch let error as TemplateError { #expect(error.line != nil || error.kind != .raised) }
  }
}

/// A thread with the half megabyte of stack that threads have beside the first on some systems.
private final class SmallThread: @unchecked Sendable {
  private var outcome: Result<String, any Error>?
  private let done = DispatchSemaphore(value: 0)

  init(_ body: @escaping @Sendable () throws -> String) {
    let thread = Thread {
      self.outcome = Result { try body() }
      self.done.signal()
    }
    thread.stackSize = 512 << 10
    thread.start()
  }

  func result() throws -> String {
    done.wait()
    return try #require(outcome).get()
  }
}
