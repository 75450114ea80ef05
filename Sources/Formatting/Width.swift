/// How many columns of a terminal text takes, and text made safe to print.
package enum Width {
  /// Columns that `text` takes on a terminal: two for East Asian wide characters and emoji, none for combining
  /// marks and format characters, one for the rest. Colour sequences are not known here: measure before painting.
  package static func of(_ text: String) -> Int {
    var columns = 0
    for character in text { columns += of(character) }
    return columns
  }

  /// An emoji of many parts (joined people, flags, skin tones, keycaps) takes the room of one; of any other
  /// character the scalars stand side by side, which is what terminals make of Thai and Indic syllables.
  package static func of(_ character: Character) -> Int {
    let scalars = character.unicodeScalars
    guard let first = scalars.first else { return 0 }
    if scalars.dropFirst().isEmpty { return of(first) }
    // Variation selector 16 asks for the emoji form of what comes before it.
    if first.properties.isEmojiPresentation || scalars.dropFirst().contains("\u{FE0F}") { return 2 }
    return scalars.reduce(0) { $0 + of($1) }
  }

  private static func of(_ scalar: Unicode.Scalar) -> Int {
    if scalar.value < 0x300 { return scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) ? 0 : 1 }
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format, .control, .lineSeparator, .paragraphSeparator: return 0
    default: break
    }
    // Vowels and finals of Hangul stand within the syllable that their leading consonant opens.
    if (0x1160...0x11FF).contains(scalar.value) { return 0 }
    if scalar.properties.isEmojiPresentation { return 2 }
    return wide.contains { $0.contains(scalar.value) } ? 2 : 1
  }

  /// Blocks that Unicode's EastAsianWidth.txt (Unicode 16) gives as wide or full-width, neighbours joined.
  private static let wide: [ClosedRange<UInt32>] = [
    0x1100...0x115F, 0x2329...0x232A, 0x2E80...0x303E, 0x3041...0x33FF, 0x3400...0x4DBF, 0x4E00...0x9FFF,
    0xA000...0xA4CF, 0xA960...0xA97C, 0xAC00...0xD7A3, 0xF900...0xFAFF, 0xFE10...0xFE19, 0xFE30...0xFE6B,
    0xFF01...0xFF60, 0xFFE0...0xFFE6, 0x16FE0...0x18DFF, 0x1AFF0...0x1B2FF, 0x1D300...0x1D376,
    0x1F200...0x1F265, 0x20000...0x2FFFD, 0x30000...0x3FFFD,
  ]

  /// `text` on one line and without control characters: names out of a checkpoint's files must be able neither
  /// to move the cursor nor to turn the direction of writing.
  package static func printable(_ text: String) -> String {
    var clean = String.UnicodeScalarView()
    var changed = false
    for scalar in text.unicodeScalars {
      switch scalar.value {
      case 0x09, 0x0A, 0x0D:
        clean.append(" ")
        changed = true
      case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069:
        clean.append("\u{FFFD}")
        changed = true
      default: clean.append(scalar)
      }
    }
    return changed ? String(clean) : text
  }

  /// The beginning of `text` that fits into `columns`, ending in "…" when something was left out.
  package static func truncate(_ text: String, to columns: Int) -> String {
    if of(text) <= columns { return text }
    var kept = "", used = 0
    for character in text {
      let next = of(character)
      if used + next > columns - 1 { break }
      kept.append(character)
      used += next
    }
    return columns > 0 ? kept + "…" : ""
  }

  /// Sentences in lines of at most `columns`, broken between words. Lines of the text are kept apart; a word that is longer
  /// than a line (a path, most likely) is left in one piece, so that it can still be selected and copied.
  package static func lines(_ text: String, to columns: Int) -> String {
    text.split(separator: "\n", omittingEmptySubsequences: false).map { paragraph in
      if of(String(paragraph)) <= columns { return String(paragraph) }
      let indent = String(paragraph.prefix { $0 == " " })
      var (lines, line) = ([String](), indent)
      for word in paragraph.dropFirst(indent.count).split(separator: " ") {
        if line != indent, of(line) + 1 + of(String(word)) > columns {
          lines.append(line)
          line = indent
        }
        line += (line == indent ? "" : " ") + word
      }
      return (lines + [line]).joined(separator: "\n")
    }.joined(separator: "\n")
  }

  /// A heading in lines of at most `columns` where that can be done: broken at spaces and after underscores.
  package static func stacked(_ heading: String, to columns: Int) -> [String] {
    var lines: [String] = []
    for piece in pieces(heading) {
      if let last = lines.last, of(last + piece) <= columns {
        lines[lines.count - 1] += piece
      } else {
        lines.append(String(piece.drop { $0 == " " }))
      }
    }
    return lines.isEmpty ? [""] : lines
  }

  /// The widest part of a heading that `stacked` leaves in one piece.
  package static func narrowest(_ heading: String) -> Int {
    pieces(heading).map { of(String($0.drop { $0 == " " })) }.max() ?? 0
  }

  private static func pieces(_ heading: String) -> [Substring] {
    var pieces: [Substring] = []
    var start = heading.startIndex
    for index in heading.indices.dropFirst() {
      let before = heading[heading.index(before: index)]
      if heading[index] == " " || before == "_" && heading[index] != "_" {
        pieces.append(heading[start..<index])
        start = index
      }
    }
    return heading.isEmpty ? [] : pieces + [heading[start...]]
  }

  /// `text` in lines of at most `columns`, broken between words, and within a word that is longer than a line.
  package static func wrap(_ text: String, to columns: Int) -> [String] {
    let columns = max(columns, 2)
    var lines: [String] = []
    var line = "", used = 0
    func close() {
      lines.append(line)
      (line, used) = ("", 0)
    }
    for word in text.split(separator: " ") {
      let length = of(String(word))
      if used > 0 {
        if used + 1 + length <= columns {
          line += " " + word
          used += 1 + length
          continue
        }
        close()
      }
      for character in word {
        let next = of(character)
        if used + next > columns { close() }
        line.append(character)
        used += next
      }
    }
    if used > 0 || lines.isEmpty { close() }
    return lines
  }
}
