/// What one rendering may use. A template comes from whoever published the checkpoint: it may be made to run, grow or
/// nest without end, and must then fail with an error, soon.
///
/// Limits grow with what was put in, so that a long conversation is never refused for its length.
struct Budget {
  /// Statements in statements, macros in macros, operators in operators; `LargeStack` has room for them.
  static let maximumDepth = 2000
  /// Lists in lists in lists.
  static let maximumNesting = 600
  /// Bytes of one string, and 64 for each entry of one list.
  static let maximumValue = 1 << 27

  private(set) var steps: Int
  private(set) var bytes: Int

  init(inputBytes: Int) {
    let input = min(inputBytes, 1 << 32)
    steps = 3_000_000 + 400 * input
    bytes = 1 << 27 + 1024 * input
  }

  mutating func step(_ count: Int = 1) throws {
    steps -= count
    if steps < 0 {
      throw TemplateError(.budget, "the template runs too long: more steps than this conversation can need")
    }
  }

  /// Counts a look at so many bytes.
  mutating func scan(bytes count: Int) throws { if count >= 64 { try step(count >> 6) } }

  /// Counts a value of so many bytes that is about to be made.
  mutating func take(bytes count: Int) throws {
    guard count <= Self.maximumValue else { throw tooLarge }
    bytes -= count
    // A step is worth some hundred bytes copied.
    steps -= count >> 8
    if bytes < 0 { throw TemplateError(.budget, "the template makes more text than this conversation can need") }
  }

  var tooLarge: TemplateError {
    TemplateError(.budget, "the template makes a value of more than \(Self.maximumValue >> 20) MiB")
  }

  /// Counts a list that is about to be made.
  mutating func take(entries count: Int) throws {
    guard count <= Self.maximumValue / 64 else {
      throw TemplateError(.budget, "the template makes a list of more than \(Self.maximumValue / 64) entries")
    }
    try take(bytes: count * 32)
    try step(count)
  }
}
