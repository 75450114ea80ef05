#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What every template has besides the conversation.
enum Globals {
  static func all() throws -> [Text: Value] {
    [
      "range": .function(try Function("range", range)),
      "dict": .function(try Function("dict", dict)),
      "namespace": .function(try Function("namespace", namespace)),
      "raise_exception": .function(try Function("raise_exception", raiseException)),
      "strftime_now": .function(try Function("strftime_now", strftimeNow)),
      "cycler": .function(try Function("cycler", cycler)),
      "joiner": .function(try Function("joiner", joiner)),
    ]
  }

  private static func range(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let numbers = try arguments.positional("range", 1...3).map { value in
      if case .big = value { throw TemplateError.raised("range too big") }
      return try StringMethods.integer(value)
    }
    return .range(
      numbers.count == 1
        ? try Span(start: 0, stop: numbers[0], step: 1)
        : try Span(start: numbers[0], stop: numbers[1], step: numbers.count > 2 ? numbers[2] : 1))
  }

  /// The pairs that Python's `dict(…)` makes of its arguments.
  private static func pairs(_ interpreter: Interpreter, _ arguments: Arguments) throws -> [(Value, Value)] {
    var pairs: [(Value, Value)] = []
    guard arguments.positional.count <= 1 else {
      throw TemplateError.raised("dict expected at most 1 argument, got \(arguments.positional.count)")
    }
    switch arguments.positional.first {
    case nil: break
    case .dict(let dict)?: pairs = Array(zip(dict.keys, dict.values))
    case .some(let value):
      for entry in try interpreter.items(value) {
        let pair = try interpreter.items(entry)
        guard pair.count == 2 else {
          throw TemplateError.raised("dictionary update sequence element has length \(pair.count); 2 is required")
        }
        pairs.append((pair[0], pair[1]))
      }
    }
    pairs += arguments.named.map { (.text($0.name), $0.value) }
    try interpreter.budget.take(entries: pairs.count)
    return pairs
  }

  private static func dict(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    .dict(try Dict(try pairs(interpreter, arguments)))
  }

  private static func namespace(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let namespace = try interpreter.namespace()
    for (key, value) in try pairs(interpreter, arguments) {
      guard case .text(let name) = key else { continue }
      try namespace.set(name, value)
    }
    return .namespace(namespace)
  }

  private static func raiseException(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let message = try arguments.bound("raise_exception", ["message"], required: 1)[0] ?? .none
    throw TemplateError.raised(try interpreter.str(message).string)
  }

  private static func strftimeNow(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let format = try StringMethods.textArgument(
      try arguments.bound("strftime_now", ["format"], required: 1)[0] ?? .none)
    try interpreter.budget.step(format.utf8.count)
    let text = interpreter.clock.text(format)
    try interpreter.budget.take(bytes: text.utf8.count)
    return .text(text)
  }

  private static func cycler(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let items = arguments.positional
    guard !items.isEmpty, arguments.named.isEmpty else {
      throw TemplateError.raised("at least one item has to be provided")
    }
    let cycler = try interpreter.namespace()
    var position = 0
    cycler.values["current"] = items[0]
    cycler.names.append("current")
    func step(_ next: Int) -> Value {
      let current = items[position]
      position = next
      cycler.values["current"] = items[position]
      return current
    }
    cycler.values["next"] = .function(try Function("next") { _, _ in step((position + 1) % items.count) })
    cycler.values["reset"] = .function(
      try Function("reset") { _, _ in
        _ = step(0)
        return .none
      })
    return .namespace(cycler)
  }

  private static func joiner(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let separator = try arguments.bound("joiner", ["sep"])[0] ?? .text(", ")
    var isUsed = false
    return .function(
      try Function("joiner", object: separator) { _, _ in
        defer { isUsed = true }
        return isUsed ? separator : .text("")
      })
  }
}

/// The time that a template can ask for.
package struct Clock: Sendable {
  /// Seconds since 1970; nil for the time at the moment.
  private let fixed: Int?

  package static let now = Clock(fixed: nil)
  /// A time that does not go on, in UTC: for tests.
  package static func at(_ seconds: Int) -> Clock { Clock(fixed: seconds) }

  /// Python's `datetime.now().strftime(format)`.
  func text(_ format: Text) -> Text {
    var time = timeval()
    var parts = tm()
    if let fixed {
      time.tv_sec = fixed
      gmtime_r(&time.tv_sec, &parts)
    } else {
      gettimeofday(&time, nil)
      localtime_r(&time.tv_sec, &parts)
    }
    // A time without a zone has neither %z nor %Z; %f is Python's own.
    let digits = String(time.tv_usec)
    let micro = String(repeating: "0", count: 6 - digits.utf8.count) + digits
    var out: [UInt8] = []
    var rest = format.utf8[...]
    while let byte = rest.popFirst() {
      guard byte == UInt8(ascii: "%"), let kind = rest.popFirst() else {
        out.append(byte)
        continue
      }
      switch kind {
      case UInt8(ascii: "f"): out += micro.utf8
      case UInt8(ascii: "z"), UInt8(ascii: "Z"): break
      case UInt8(ascii: "%"): out.append(kind)
      default:
        var directive: [UInt8] = [UInt8(ascii: "%"), kind]
        if "-_0^#EO".utf8.contains(kind), let more = rest.popFirst() { directive.append(more) }
        out += Self.text(directive, &parts)
      }
    }
    return Text(String(decoding: out, as: UTF8.self))
  }

  private static func text(_ directive: [UInt8], _ parts: inout tm) -> [UInt8] {
    var buffer = [CChar](repeating: 0, count: 256)
    let format = directive.map { CChar(bitPattern: $0) } + [0]
    let count = strftime(&buffer, buffer.count, format, &parts)
    return buffer.prefix(count).map { UInt8(bitPattern: $0) }
  }
}
