/// Text put into Markdown so that it is read as text.
public enum Markdown {
  /// On one line, with everything escaped that Markdown or HTML would take for more than text.
  public static func escaped(_ text: String) -> String {
    var result = ""
    for character in Width.printable(text) {
      if "\\`*_{}[]<>#|~&!$".contains(character) { result.append("\\") }
      result.append(character)
    }
    return result
  }

  /// A block of code, in a fence that nothing in it can close.
  public static func fenced(_ code: String, language: String) -> String {
    var (longest, run) = (0, 0)
    for character in code {
      run = character == "`" ? run + 1 : 0
      longest = max(longest, run)
    }
    let fence = String(repeating: "`", count: max(3, longest + 1))
    return "\(fence)\(language)\n\(code)\n\(fence)\n"
  }

  /// A table of cells that are Markdown already; columns are aligned right but for the first `left`.
  public static func table(_ headings: [String], rows: [[String]], left: Int = 1) -> String {
    func line(_ cells: [String]) -> String { "| " + cells.joined(separator: " | ") + " |\n" }
    let rule = headings.indices.map { $0 < left ? "---" : "---:" }
    return line(headings) + line(rule) + rows.map(line).joined()
  }
}

/// Text put into YAML so that it is read as text.
public enum YAML {
  /// Plain where no reader could take it for anything else (`no` is Norwegian, and a boolean), else in double quotes.
  public static func scalar(_ text: String) -> String {
    let scalars = text.unicodeScalars
    let isPlain = scalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || "0123456789_./-".unicodeScalars.contains($0))
    }
    if isPlain, scalars.first?.properties.isAlphabetic == true, !words.contains(text.lowercased()) { return text }
    var quoted = "\""
    for scalar in scalars {
      switch scalar.value {
      case 0x22, 0x5C: quoted += "\\" + String(scalar)
      case 0x0A: quoted += "\\n"
      case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0xFEFF, 0xFFFE...0xFFFF:
        let digits = String(scalar.value, radix: 16)
        quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "\""
  }

  private static let words: Set<String> = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"]
}

/// Text put into a command line so that it is one word.
public enum Shell {
  /// As it is where no shell would read more into it, else in single quotes; control characters in `$'…'`.
  public static func quoted(_ word: String) -> String {
    let scalars = word.unicodeScalars
    let isPlain = scalars.allSatisfy {
      $0.isASCII && ($0.properties.isAlphabetic || "0123456789_./-=,:+@%".unicodeScalars.contains($0))
    }
    if isPlain, !word.isEmpty { return word }
    let hasControls = scalars.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) }
    guard hasControls else { return "'" + word.replacing("'", with: "'\\''") + "'" }
    var quoted = "$'"
    for scalar in scalars {
      switch scalar {
      case "'", "\\": quoted += "\\" + String(scalar)
      case "\n": quoted += "\\n"
      case "\t": quoted += "\\t"
      case _ where scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value):
        for byte in String(scalar).utf8 {
          quoted += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
        }
      default: quoted.unicodeScalars.append(scalar)
      }
    }
    return quoted + "'"
  }
}
