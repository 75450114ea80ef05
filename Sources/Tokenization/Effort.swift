/// How much work one text may take: every part of a tokenizer that could take more than its share counts here.
///
/// Patterns, vocabularies and normalizers come from files. Some of them take quadratic or exponential time on some
/// texts; the published ones take less than a hundred steps a byte on any.
final class Effort {
  /// Allowed for every text, and for each of its bytes.
  static let base = 50_000_000
  static let perByte = 500

  private(set) var left: Int
  private let limit: Int
  private let bytes: Int
  private let file: String

  init(bytes: Int, file: String) {
    self.bytes = bytes
    self.file = file
    let share = bytes.multipliedReportingOverflow(by: Self.perByte)
    limit = Self.base + (share.overflow ? .max / 2 : min(share.partialValue, .max / 2))
    left = limit
  }

  /// Counts steps of some part.
  ///
  /// - Throws: `TokenizerError` when they are more than this text may take.
  @inline(__always)
  func spend(_ steps: Int, _ part: @autoclosure () -> String) throws {
    left -= steps
    if left < 0 { throw exceeded(part()) }
  }

  /// Counts a walk through a trie of tokens. Tokens are short: walks along those that are not cost what they take,
  /// several steps a byte.
  @inline(__always)
  func spend(walk bytes: Int, _ part: @autoclosure () -> String) throws {
    if bytes > 512 { try spend(bytes * 16, part()) }
  }

  /// Takes over the count of a part that kept it itself.
  @inline(__always)
  func set(left: Int) { self.left = left }

  func exceeded(_ part: String) -> TokenizerError {
    TokenizerError(
      "\(file): \(part) took more than \(limit) steps on this text of \(bytes) bytes; the tokenizer is broken")
  }

  func ranBack(_ steps: Int) -> TokenizerError {
    TokenizerError("\(file): a pattern of the tokenizer took more than \(steps) steps back on this text")
  }
}
