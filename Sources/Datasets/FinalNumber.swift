/// The number that an answer gives, and how numbers are compared: as lm-evaluation-harness does for GSM8K.
///
/// Of generated text the last number counts (its filter `flexible-extract`), wherever it stands; numbers are equal when their
/// spellings are, without commas, dollar signs and a full stop at the end. `42` and `42.0` are different, as there.
///
/// Source: `gsm8k.yaml`, `RegexFilter` and `exact_match` of lm-evaluation-harness 0.4.9.
public enum FinalNumber {
  private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

  /// The last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`, as it is compared; nil where there is none.
  public static func ofText(_ text: String) -> String? {
    let bytes = Array(text.utf8)
    func isPart(_ byte: UInt8) -> Bool { isDigit(byte) || byte == 0x24 || byte == 0x2C || byte == 0x2E }
    var found: Range<Int>?
    var at = 0
    while at < bytes.count {
      let first = bytes[at] == UInt8(ascii: "-") ? at + 1 : at
      var end = first
      while end < bytes.count, isPart(bytes[end]) { end += 1 }
      if end - first >= 2 || end - first == 1 && isDigit(bytes[first]) {
        found = at..<end
        at = end
      } else {
        at += 1
      }
    }
    return found.map { compared(bytes[$0]) }
  }

  /// The number of an answer of the data, what is after its last `#### ` or all of it, as it is compared; nil where it is
  /// none.
  public static func ofReference(_ answer: String) -> String? {
    let bytes = Array(answer.utf8)
    let mark = Array("#### ".utf8)
    let start = bytes.indices.last { bytes[$0...].starts(with: mark) }.map { $0 + mark.count } ?? 0
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    let own = bytes[start...]
    guard let first = own.firstIndex(where: { !isSpace($0) }), let last = own.lastIndex(where: { !isSpace($0) }) else {
      return nil
    }
    let number = compared(bytes[first...last])
    let digits = number.utf8.first == UInt8(ascii: "-") ? number.utf8.dropFirst() : number.utf8[...]
    let isNumber = digits.contains(where: isDigit) && digits.allSatisfy { isDigit($0) || $0 == UInt8(ascii: ".") }
    return isNumber ? number : nil
  }

  /// Without commas, dollar signs and one full stop at the end.
  private static func compared(_ bytes: some Sequence<UInt8>) -> String {
    var kept = bytes.filter { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "$") }
    if kept.last == UInt8(ascii: ".") { kept.removeLast() }
    return String(decoding: kept, as: UTF8.self)
  }
}
