/// `format % values`
extension Interpreter {
  /// Python's `format % values`.
  func percentFormat(_ format: Text, _ values: Value) throws -> Text {
    var out: [UInt8] = []
    var items: [Value]
    if case .tuple(let list) = values { items = list.items } else { items = [values] }
    var next = 0
    var usesNames = false
    func take() throws -> Value {
      guard next < items.count else { throw TemplateError.raised("not enough arguments for format string") }
      next += 1
      return items[next - 1]
    }
    try budget.take(bytes: format.utf8.count * 4)
    var rest = Array(format.scalars)[...]
    while let scalar = rest.popFirst() {
      guard scalar == "%" else {
        out.append(scalar: scalar)
        continue
      }
      try budget.step()
      var spec = FormatSpec()
      var value: Value?
      if rest.first == "(" {
        guard let end = rest.firstIndex(of: ")") else { throw TemplateError.raised("incomplete format key") }
        guard case .dict(let dict) = values else { throw TemplateError.raised("format requires a mapping") }
        let key = Text(rest[(rest.startIndex + 1)..<end])
        guard let found = dict[key] else { throw TemplateError.raised("format misses the key '\(key.string)'") }
        (value, usesNames) = (found, true)
        rest = rest[(end + 1)...]
      }
      while let flag = rest.first, "-+ #0".unicodeScalars.contains(flag) {
        switch flag {
        case "-": (spec.align, spec.fill) = ("<", " ")
        case "+": spec.sign = "+"
        case " ": if spec.sign == nil { spec.sign = " " }
        case "#": spec.isAlternate = true
        default: if spec.align == nil { (spec.align, spec.fill) = ("=", "0") }
        }
        rest.removeFirst()
      }
      func size() throws -> Int? {
        guard rest.first == "*" else { return try FormatSpec.number(&rest) }
        rest.removeFirst()
        let size = try StringMethods.integer(try take())
        guard size.magnitude <= UInt(FormatSpec.widest) else { throw TemplateError.raised("width too big") }
        return size
      }
      if let width = try size() {
        spec.width = abs(width)
        if width < 0 { (spec.align, spec.fill) = ("<", " ") }
      }
      if rest.first == "." {
        rest.removeFirst()
        spec.precision = max(0, try size() ?? 0)
      }
      while let length = rest.first, "hlL".unicodeScalars.contains(length) { rest.removeFirst() }
      guard let type = rest.popFirst() else { throw TemplateError.raised("incomplete format") }
      if type == "%" {
        out.append(UInt8(ascii: "%"))
        continue
      }
      let piece = try percent(type, try value ?? take(), spec)
      try budget.take(bytes: piece.utf8.count)
      out += format.isMarkup ? piece.escaped().utf8 : piece.utf8
    }
    if next < items.count, !usesNames {
      // What can be indexed may be left over, for it could be meant as a mapping.
      switch values {
      case .dict, .list, .range, .undefined: break
      default: throw TemplateError.raised("not all arguments converted during string formatting")
      }
    }
    try budget.take(bytes: out.count)
    return Text(out, isMarkup: format.isMarkup)
  }

  private func percent(_ type: Unicode.Scalar, _ value: Value, _ format: FormatSpec) throws -> Text {
    var spec = format
    switch type {
    case "s", "r", "a":
      var text = type == "s" ? try str(value) : type == "r" ? try repr(value) : try ascii(value)
      if case .text(let markup) = value, type == "s" { text = markup }
      if spec.align == "=" { (spec.align, spec.fill) = (nil, " ") }
      return try padded(spec.precision.map { text.part(0, $0) } ?? text, spec, ">")
    case "c":
      if case .text(let text) = value {
        guard text.count == 1 else { throw TemplateError.raised("%c requires int or char") }
        return try padded(text, spec, ">")
      }
      guard let number = value.bigInt else { throw TemplateError.raised("%c requires int or char") }
      spec.type = "c"
      return try padded(try formatted(integer: number, spec), spec, ">")
    case "d", "i", "u", "o", "x", "X":
      spec.type = type == "i" || type == "u" ? "d" : type
      if case .undefined(let undefined) = value { throw undefined.error }
      if let number = value.bigInt { return try formatted(integer: number, spec) }
      guard case .float(let number) = value, "diu".unicodeScalars.contains(type), number.isFinite,
        let whole = BigInt(decimal: Array(printf("%.0f", number.rounded(.towardZero)).utf8))
      else { throw TemplateError.raised("%\(String(type)) format: a number is required, not \(value.type)") }
      return try formatted(integer: whole, spec)
    case "e", "E", "f", "F", "g", "G":
      spec.type = type
      if case .undefined(let undefined) = value { throw undefined.error }
      guard let number = value.double else { throw TemplateError.raised("must be real number, not \(value.type)") }
      return try formatted(float: number, spec)
    default: throw TemplateError.raised("unsupported format character '\(String(type))'")
    }
  }
}
