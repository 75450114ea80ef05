/// How a value is to be written: what stands after the colon in `{:>8.2f}`, or after the percent sign in `%-8.2f`.
struct FormatSpec {
  var fill: Text = " "
  var align: Unicode.Scalar?
  var sign: Unicode.Scalar?
  var isAlternate = false
  var width = 0
  var grouping: Unicode.Scalar?
  var precision: Int?
  var type: Unicode.Scalar?

  static let widest = 1 << 20

  init() {}

  /// Source: the format specification mini-language of Python's library reference.
  init(_ spec: Text) throws {
    var rest = Array(spec.scalars)[...]
    let aligns: Set<Unicode.Scalar> = ["<", ">", "=", "^"]
    if rest.count > 1, aligns.contains(rest[1]) {
      fill = Text([rest[0]])
      align = rest[1]
      rest = rest.dropFirst(2)
    } else if let first = rest.first, aligns.contains(first) {
      align = first
      rest = rest.dropFirst()
    }
    if let first = rest.first, first == "+" || first == "-" || first == " " { sign = rest.removeFirst(); _ = first }
    if rest.first == "#" {
      isAlternate = true
      rest.removeFirst()
    }
    if rest.first == "0", align == nil {
      fill = "0"
      align = "="
    }
    width = try Self.number(&rest) ?? 0
    if let first = rest.first, first == "," || first == "_" { grouping = rest.removeFirst(); _ = first }
    if rest.first == "." {
      rest.removeFirst()
      guard let digits = try Self.number(&rest) else {
        throw TemplateError.raised("format specifier missing precision")
      }
      precision = digits
    }
    if let last = rest.first { type = last; rest.removeFirst() }
    guard rest.isEmpty else { throw TemplateError.raised("invalid format specifier '\(spec.string)'") }
  }

  static func number(_ rest: inout ArraySlice<Unicode.Scalar>) throws -> Int? {
    var value: Int?
    while let first = rest.first, first.isASCIIDigit {
      value = min(Self.widest + 1, (value ?? 0) * 10 + Int(first.value - 48))
      rest.removeFirst()
    }
    if let value, value > Self.widest { throw TemplateError.raised("a width of more than \(Self.widest) characters") }
    return value
  }
}
