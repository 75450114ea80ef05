typealias Filter = @Sendable (Interpreter, Value, Arguments) throws -> Value
typealias Test = @Sendable (Interpreter, Value, Arguments) throws -> Bool

/// Jinja's filters, and `tojson` as transformers has it.
///
/// Source: `jinja2/filters.py` of Jinja 3.1.6; `_cached_compile_jinja_template` of transformers 5.24.
enum Filters {
  static let all: [String: Filter] = text.merging(numbers) { $1 }.merging(SequenceFilters.all) { $1 }

  private static let text: [String: Filter] = [
    "upper": plain("upper") { $0.uppercased() },
    "lower": plain("lower") { $0.lowercased() },
    "capitalize": plain("capitalize") { $0.capitalized() },
    "title": { interpreter, value, arguments in
      _ = try arguments.bound("title", [])
      let text = try interpreter.soft(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      return .text(title(text))
    },
    "trim": { interpreter, value, arguments in
      let values = try arguments.bound("trim", ["chars"])
      return .text(try StringMethods.stripped(interpreter, try interpreter.soft(value), values[0]))
    },
    "string": { interpreter, value, arguments in
      _ = try arguments.bound("string", [])
      return .text(try interpreter.soft(value))
    },
    "safe": { interpreter, value, arguments in
      _ = try arguments.bound("safe", [])
      let text = try interpreter.soft(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      return .text(text.marked(true))
    },
    "escape": escape, "e": escape,
    "forceescape": { interpreter, value, arguments in
      _ = try arguments.bound("forceescape", [])
      let text = try interpreter.str(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      return .text(text.escaped())
    },
    "striptags": { interpreter, value, arguments in
      _ = try arguments.bound("striptags", [])
      let text = try interpreter.str(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      return .text(try stripTags(text))
    },
    "replace": { interpreter, value, arguments in
      let values = try arguments.bound("replace", ["old", "new", "count"], required: 2)
      let count = try values[2].flatMap { $0.isNone ? nil : $0 }.map(StringMethods.integer) ?? -1
      let (old, new) = (try interpreter.str(values[0] ?? .none), try interpreter.str(values[1] ?? .none))
      return .text(try StringMethods.replaced(interpreter, try interpreter.str(value), old, new, count))
    },
    "center": { interpreter, value, arguments in
      let width = try arguments.bound("center", ["width"])[0].map(StringMethods.integer) ?? 80
      return .text(try StringMethods.padded(interpreter, try interpreter.soft(value), width, " ", "center"))
    },
    "indent": indent,
    "truncate": truncate,
    "wordcount": { interpreter, value, arguments in
      _ = try arguments.bound("wordcount", [])
      var (count, isInWord) = (0, false)
      let text = try interpreter.soft(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      for scalar in text.scalars {
        if scalar.isWord, !isInWord { count += 1 }
        isInWord = scalar.isWord
      }
      return .int(count)
    },
    "format": { interpreter, value, arguments in
      guard arguments.positional.isEmpty || arguments.named.isEmpty else {
        throw TemplateError.raised("can't handle positional and keyword arguments at the same time")
      }
      let values: Value =
        arguments.named.isEmpty
        ? try interpreter.tuple(arguments.positional)
        : .dict(try Dict(arguments.named.map { (.text($0.name), $0.value) }))
      return .text(try interpreter.percentFormat(try interpreter.soft(value), values))
    },
    "urlencode": urlEncode,
    "tojson": toJSON,
  ]

  private static let numbers: [String: Filter] = [
    "abs": { _, value, arguments in
      _ = try arguments.bound("abs", [])
      if let number = value.bigInt { return .integer(number.isNegative ? -number : number) }
      guard case .float(let number) = value else {
        throw TemplateError.raised("bad operand type for abs(): '\(value.type)'")
      }
      return .float(number.magnitude)
    },
    "int": { interpreter, value, arguments in
      let values = try arguments.bound("int", ["default", "base"])
      if case .undefined(let undefined) = value { throw undefined.error }
      let base = try values[1].map(StringMethods.integer) ?? 10
      try chargeDigits(value, interpreter)
      return integer(value, base: base) ?? values[0] ?? .int(0)
    },
    "float": { interpreter, value, arguments in
      let values = try arguments.bound("float", ["default"])
      if case .undefined(let undefined) = value { throw undefined.error }
      if case .big(let big) = value, !big.double.isFinite {
        throw TemplateError.raised("int too large to convert to float")
      }
      try chargeDigits(value, interpreter)
      return (value.double ?? value.text.flatMap(float)).map(Value.float) ?? values[0] ?? .float(0)
    },
    "round": round,
    "default": defaulted, "d": defaulted,
    "attr": { interpreter, value, arguments in
      guard case .text(let name)? = try arguments.bound("attr", ["name"], required: 1)[0] else {
        throw TemplateError.raised("attribute name must be string")
      }
      if case .dict(let dict) = value {
        return DictMethods.names.contains(name)
          ? try interpreter.attribute(name, of: value) : interpreter.missing(name, in: .dict(dict))
      }
      return try interpreter.attribute(name, of: value)
    },
    "filesizeformat": { interpreter, value, arguments in
      let isBinary = try arguments.bound("filesizeformat", ["binary"])[0]?.isTrue ?? false
      guard let bytes = value.double ?? value.text.flatMap(float) else {
        throw TemplateError.raised("filesizeformat wants a number, not \(value.type)")
      }
      return .text(try fileSize(bytes, isBinary, interpreter))
    },
  ]

  private static func plain(_ name: String, _ change: @escaping @Sendable (Text) -> Text) -> Filter {
    { interpreter, value, arguments in
      _ = try arguments.bound(name, [])
      let changed = change(try interpreter.soft(value))
      try interpreter.budget.take(bytes: changed.utf8.count * 4)
      return .text(changed)
    }
  }

  private static let escape: Filter = { interpreter, value, arguments in
    _ = try arguments.bound("escape", [])
    let text = try interpreter.soft(value).escaped()
    try interpreter.budget.take(bytes: text.utf8.count)
    return .text(text)
  }

  private static let defaulted: Filter = { _, value, arguments in
    let values = try arguments.bound("default", ["default_value", "boolean"])
    let isMissing = value.isUndefined || (values[1]?.isTrue ?? false) && !value.isTrue
    return isMissing ? values[0] ?? .text("") : value
  }

  /// Words begin at the start and after any of `- ({[<` and spaces.
  private static func title(_ text: Text) -> Text {
    var (out, word) = ([UInt8](), [Unicode.Scalar]())
    func flush() {
      if let first = word.first {
        out += first.properties.uppercaseMapping.utf8
        out += Text(word.dropFirst()).lowercased().utf8
      }
      word = []
    }
    let marks: Set<Unicode.Scalar> = ["-", "(", "{", "[", "<"]
    for scalar in text.scalars {
      if scalar.isSpace || marks.contains(scalar) {
        flush()
        out.append(scalar: scalar)
      } else {
        word.append(scalar)
      }
    }
    flush()
    return Text(out)
  }

  private static func stripTags(_ text: Text) throws -> Text {
    var (pieces, at) = ([UInt8](), 0)
    while let start = text.find("<", from: at) {
      let isComment = text.bytes(start..<text.utf8.count).hasPrefix("<!--")
      guard let end = text.find(isComment ? "-->" : ">", from: isComment ? start + 4 : start) else { break }
      pieces += text.utf8[at..<start]
      at = end + (isComment ? 3 : 1)
    }
    pieces += text.utf8[at...]
    var out = Text(StringMethods.words(Text(pieces)).map(\.utf8).joined(separator: [0x20]))
    guard out.contains("&") else { return out }
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#34;", "\""), ("&#39;", "'")] {
      out = Text(out.split(Text(entity)).map(\.utf8).joined(separator: Array(character.utf8)))
    }
    return Text(out.split("&amp;").map(\.utf8).joined(separator: [UInt8(ascii: "&")]))
  }

  private static let indent: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("indent", ["width", "first", "blank"])
    guard case .text(let text) = value else {
      if case .undefined(let undefined) = value { throw undefined.error }
      throw TemplateError.raised("indent wants a string, not \(value.type)")
    }
    try interpreter.budget.take(bytes: text.utf8.count)
    let indentation: Text
    if case .text(let given)? = values[0] {
      indentation = given
    } else {
      indentation = try interpreter.repeated(" ", try values[0].map(StringMethods.integer) ?? 4)
    }
    let (first, blank) = (values[1]?.isTrue ?? false, values[2]?.isTrue ?? false)
    let lines = try StringMethods.lines(Text(text.utf8 + [0x0A]))
    var out: [UInt8] = []
    for (index, line) in lines.enumerated() {
      if index > 0 { out.append(0x0A) }
      if index == 0 ? first : blank || !line.isEmpty { out += indentation.utf8 }
      out += line.utf8
      try interpreter.budget.take(bytes: line.utf8.count + indentation.utf8.count)
    }
    return .text(Text(out, isMarkup: text.isMarkup))
  }

  private static let truncate: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("truncate", ["length", "killwords", "end", "leeway"])
    if case .float(let length)? = values[0], Double(try interpreter.length(value)) <= length { return value }
    let length = try values[0].map(StringMethods.integer) ?? 255
    let end = try values[2].map(StringMethods.textArgument) ?? "..."
    let leeway = try values[3].flatMap { $0.isNone ? nil : $0 }.map(StringMethods.integer) ?? 5
    guard length >= end.count, leeway >= 0 else {
      throw TemplateError.raised("truncate wants a length of at least \(end.count) and a leeway of at least 0")
    }
    guard try interpreter.length(value) > min(length, .max - leeway) + leeway else { return value }
    guard case .text(let text) = value else { throw TemplateError.raised("truncate wants a string, not \(value.type)") }
    var cut = text.part(0, length - end.count)
    if !(values[1]?.isTrue ?? false), let space = cut.findLast(" ") { cut = cut.bytes(0..<space) }
    return .text(Text(cut.utf8 + end.utf8))
  }

  private static let urlEncode: Filter = { interpreter, value, arguments in
    _ = try arguments.bound("urlencode", [])
    func quoted(_ value: Value, inQuery: Bool) throws -> [UInt8] {
      var out: [UInt8] = []
      let text = try interpreter.str(value)
      try interpreter.budget.take(bytes: text.utf8.count)
      for byte in text.utf8 {
        let isPlain = (65...90).contains(byte) || (97...122).contains(byte) || (48...57).contains(byte)
        if isPlain || "_.-~".utf8.contains(byte) || (!inQuery && byte == UInt8(ascii: "/")) {
          out.append(byte)
        } else if inQuery, byte == 0x20 {
          out.append(UInt8(ascii: "+"))
        } else {
          out += "%\(hexadecimal(UInt32(byte), width: 2).uppercased())".utf8
        }
      }
      return out
    }
    let pairs: [Value]
    switch value {
    case .dict(let dict): pairs = try (0..<dict.count).map { try dict.entry($0, .items) }
    case .list, .tuple, .iterator, .view, .range, .undefined: pairs = try interpreter.items(value)
    default: return .text(Text(try quoted(value, inQuery: false)))
    }
    let parts = try pairs.map { pair in
      let both = try interpreter.items(pair)
      guard both.count == 2 else { throw TemplateError.raised("urlencode wants pairs of keys and values") }
      return try quoted(both[0], inQuery: true) + [UInt8(ascii: "=")] + quoted(both[1], inQuery: true)
    }
    return .text(Text(parts.joined(separator: [UInt8(ascii: "&")])))
  }

  private static let toJSON: Filter = { interpreter, value, arguments in
    let values = try arguments.bound("tojson", ["ensure_ascii", "indent", "separators", "sort_keys"])
    var indent: [UInt8]?
    switch values[1] {
    case nil, .some(.none): break
    case .text(let text)?: indent = text.utf8
    case .some(let width):
      indent = try interpreter.repeated(" ", try StringMethods.integer(width)).utf8
    }
    var separators: (Text, Text)?
    if let given = values[2], !given.isNone {
      let pair = try interpreter.items(given)
      guard pair.count == 2 else { throw TemplateError.raised("tojson wants two separators") }
      separators = (try StringMethods.textArgument(pair[0]), try StringMethods.textArgument(pair[1]))
    }
    var writer = JSONWriter(
      escapesNonASCII: values[0]?.isTrue ?? false, indent: indent, separators: separators,
      sortsKeys: values[3]?.isTrue ?? false)
    try writer.write(value, interpreter)
    try interpreter.budget.take(bytes: writer.out.count)
    return .text(Text(writer.out))
  }
}
