/// Python's questions about characters.
extension Unicode.Scalar {
  /// `str.isspace`, which is also `\s` of its regular expressions and what `strip` takes away.
  var isSpace: Bool {
    switch value {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// Where `splitlines` cuts.
  var isLineBreak: Bool {
    switch value {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }

  /// `str.isprintable`: what `repr` leaves as it is.
  var isPrintable: Bool {
    if value < 0x7F { return value >= 0x20 }
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
      return false
    default: return true
    }
  }

  var isAlpha: Bool {
    if value < 0x80 { return isASCIILetter }
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
    default: return false
    }
  }

  var isDecimal: Bool { properties.generalCategory == .decimalNumber }
  var isDigit: Bool { properties.numericType == .decimal || properties.numericType == .digit }
  var isNumeric: Bool { properties.numericType != nil }
  var isAlphanumeric: Bool {
    value < 0x80 ? isASCIILetter || isASCIIDigit : isAlpha || isDecimal || isDigit || isNumeric
  }
  /// `\w` of regular expressions.
  var isWord: Bool { self == "_" || isAlphanumeric }

  var isIdentifierStart: Bool {
    value < 0x80 ? isASCIILetter || self == "_" : properties.isXIDStart
  }
  var isIdentifierPart: Bool {
    value < 0x80 ? isASCIILetter || isASCIIDigit || self == "_" : properties.isXIDContinue
  }
  private var isASCIILetter: Bool { ("a"..."z").contains(self) || ("A"..."Z").contains(self) }
  var isASCIIDigit: Bool { ("0"..."9").contains(self) }

  /// Has upper and lower case, and is one of them.
  var isUpper: Bool { value < 0x80 ? ("A"..."Z").contains(self) : properties.isUppercase }
  var isLower: Bool { value < 0x80 ? ("a"..."z").contains(self) : properties.isLowercase }
  var isTitle: Bool { value >= 0x80 && properties.generalCategory == .titlecaseLetter }
  var isCased: Bool { properties.isCased }
}

/// Python's changes of case: full mappings, and a sigma at the end of a word.
extension Text {
  func uppercased() -> Text {
    if isASCII { return mapASCII { (0x61...0x7A).contains($0) ? $0 - 32 : $0 } }
    return mapped { $0.properties.uppercaseMapping }
  }

  func lowercased() -> Text {
    if isASCII { return mapASCII { (0x41...0x5A).contains($0) ? $0 + 32 : $0 } }
    let all = Array(scalars)
    var out: [UInt8] = []
    for index in all.indices { Self.lower(all, index, to: &out) }
    return Text(out, isMarkup: isMarkup)
  }

  /// As Python's `str.casefold`: Unicode's full case folding.
  func caseFolded() -> Text {
    if isASCII { return lowercased() }
    return mapped { scalar in
      switch scalar.value {
      // Dotless i and Cherokee's capitals are as they are; its small letters become those.
      case 0x131, 0x13A0...0x13F5: String(Character(scalar))
      case 0x13F8...0x13FD: Unicode.Scalar(scalar.value - 8).map { String(Character($0)) } ?? ""
      case 0xAB70...0xABBF: Unicode.Scalar(scalar.value - 0xAB70 + 0x13A0).map { String(Character($0)) } ?? ""
      // Once more for the capital sharp s.
      default: Self.lowerOfUpper(Self.lowerOfUpper(String(Character(scalar))))
      }
    }
  }

  private static func lowerOfUpper(_ text: String) -> String {
    let upper = text.unicodeScalars.map(\.properties.uppercaseMapping).joined()
    return upper.unicodeScalars.map(\.properties.lowercaseMapping).joined()
  }

  private static func lower(_ all: [Unicode.Scalar], _ index: Int, to out: inout [UInt8]) {
    guard all[index] == "\u{3A3}" else {
      out.append(contentsOf: all[index].properties.lowercaseMapping.utf8)
      return
    }
    let before = all[..<index].last { !$0.properties.isCaseIgnorable }
    let after = all[(index + 1)...].first { !$0.properties.isCaseIgnorable }
    let isFinal = (before?.isCased ?? false) && !(after?.isCased ?? false)
    out.append(contentsOf: (isFinal ? "\u{3C2}" : "\u{3C3}").utf8)
  }

  /// The first scalar in title case, the others in lower case.
  func capitalized() -> Text {
    let all = Array(scalars)
    guard let first = all.first else { return self }
    var out = Array(first.properties.titlecaseMapping.utf8)
    for index in all.indices.dropFirst() { Self.lower(all, index, to: &out) }
    return Text(out, isMarkup: isMarkup)
  }

  /// `str.title`: every letter after something that is none in title case.
  func titled() -> Text {
    let all = Array(scalars)
    var out: [UInt8] = []
    var isInWord = false
    for index in all.indices {
      if isInWord {
        Self.lower(all, index, to: &out)
      } else {
        out.append(contentsOf: all[index].properties.titlecaseMapping.utf8)
      }
      isInWord = all[index].isCased
    }
    return Text(out, isMarkup: isMarkup)
  }

  func caseSwapped() -> Text {
    let all = Array(scalars)
    var out: [UInt8] = []
    for index in all.indices {
      if all[index].isUpper {
        Self.lower(all, index, to: &out)
      } else if all[index].isLower {
        out.append(contentsOf: all[index].properties.uppercaseMapping.utf8)
      } else {
        out.append(scalar: all[index])
      }
    }
    return Text(out, isMarkup: isMarkup)
  }

  private func mapASCII(_ map: (UInt8) -> UInt8) -> Text { Text(utf8.map(map), isMarkup: isMarkup) }

  private func mapped(_ map: (Unicode.Scalar) -> String) -> Text {
    var out: [UInt8] = []
    for scalar in scalars { out.append(contentsOf: map(scalar).utf8) }
    return Text(out, isMarkup: isMarkup)
  }

  /// Without what `isStripped` says at either end.
  func stripped(left: Bool = true, right: Bool = true, _ isStripped: (Unicode.Scalar) -> Bool) -> Text {
    var (start, end) = (0, utf8.count)
    if left {
      while start < end {
        let (scalar, width) = self.scalar(at: start)
        guard isStripped(scalar) else { break }
        start += width
      }
    }
    if right {
      while end > start {
        var before = end - 1
        while before > start, utf8[before] & 0xC0 == 0x80 { before -= 1 }
        guard isStripped(scalar(at: before).scalar) else { break }
        end = before
      }
    }
    return start == 0 && end == utf8.count ? self : Text(Array(utf8[start..<end]), isMarkup: isMarkup)
  }

  /// The scalar at an offset in bytes, and how many it has.
  func scalar(at offset: Int) -> (scalar: Unicode.Scalar, width: Int) {
    let first = utf8[offset]
    if first < 0x80 { return (Unicode.Scalar(first), 1) }
    let width = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    var value = UInt32(first) & (first < 0xE0 ? 0x1F : first < 0xF0 ? 0x0F : 0x07)
    for index in 1..<width where offset + index < utf8.count {
      value = value << 6 | UInt32(utf8[offset + index] & 0x3F)
    }
    return (Unicode.Scalar(value) ?? "\u{FFFD}", width)
  }
}
