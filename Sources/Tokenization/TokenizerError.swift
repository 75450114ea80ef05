/// Why a tokenizer could not be loaded, or a text or id list not converted: one sentence for the person who
/// reads it, with the file and the place in it.
public struct TokenizerError: Error, CustomStringConvertible, Sendable, Equatable {
  public let message: String

  package init(_ message: String) { self.message = message }

  public var description: String { message }
}

enum Limits {
  /// Stops a tokenizer whose parts each blow a text up, before memory ends.
  static func check(_ count: Int, from original: Int) throws {
    if count >> 8 > original, count > 1 << 24 {
      throw TokenizerError("the tokenizer makes \(count) bytes or ids out of \(original); it is broken")
    }
  }
}
