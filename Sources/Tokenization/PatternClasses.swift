/// The named character classes of patterns, with the members Oniguruma gives them.
enum PatternClasses {
  private static func mask(_ names: String...) -> ClassMask {
    names.reduce(0) { $0 | (ScalarClass.mask(named: $1) ?? 0) }
  }

  static let space: ScalarSet = .classes(ScalarClass.whiteSpace)
  static let digit: ScalarSet = .classes(mask("Nd"))
  /// Superscript digits and vulgar fractions of Latin-1 are word characters to Oniguruma, no others are.
  static let word: ScalarSet = .union([
    bracketedWord, .ranges([0xB2...0xB3, 0xB9...0xB9, 0xBC...0xBE]),
  ])
  /// Inside of brackets they are none.
  static let bracketedWord: ScalarSet = .classes(ScalarClass.alphabetic | mask("M", "Nd", "Pc"))
  static let hexadecimal: ScalarSet = .ranges([0x30...0x39, 0x41...0x46, 0x61...0x66])

  /// `\s`, `\d`, `\w`, `\h` and their opposites.
  static func escaped(_ letter: Unicode.Scalar, inBracket: Bool) -> ScalarSet? {
    let word = inBracket ? bracketedWord : word
    return switch letter {
    case "s": space
    case "S": .complement(space)
    case "d": digit
    case "D": .complement(digit)
    case "w": word
    case "W": .complement(word)
    case "h": hexadecimal
    case "H": .complement(hexadecimal)
    default: nil
    }
  }

  /// A property by its name: general categories, long names of their groups, and the few others tokenizers use.
  /// Names are compared as Oniguruma does: without case, spaces, hyphens, underscores.
  static func property(_ name: String) -> ScalarSet? {
    let plain = name.lowercased().filter { !" -_".contains($0) }
    if let category = ScalarClass.names.first(where: { $0.lowercased() == plain }), category != "Cs" {
      return .classes(mask(category))
    }
    switch plain {
    case "l", "letter": return .classes(mask("L"))
    case "m", "mark": return .classes(mask("M"))
    case "n", "number": return .classes(mask("N"))
    case "p", "punctuation": return .classes(mask("P"))
    case "s", "symbol": return .classes(mask("S"))
    case "z", "separator": return .classes(mask("Z"))
    case "c", "other": return .classes(mask("C"))
    case "alphabetic", "alpha": return .classes(ScalarClass.alphabetic)
    case "whitespace", "space": return space
    case "han": return .ranges(ScalarClass.han)
    case "digit": return digit
    case "word": return word
    case "any": return .complement(.ranges([]))
    case "ascii": return .ranges([0...0x7F])
    default: return nil
    }
  }

  static func posix(_ name: String) -> ScalarSet? {
    switch name {
    case "alpha": .classes(ScalarClass.alphabetic)
    case "digit": digit
    case "alnum": .union([.classes(ScalarClass.alphabetic), digit])
    case "upper", "lower", "graph", "print": nil
    case "punct": .classes(mask("P", "S"))
    case "space": space
    case "cntrl": .classes(mask("Cc"))
    case "xdigit": hexadecimal
    case "word": bracketedWord
    case "ascii": .ranges([0...0x7F])
    default: nil
    }
  }

  /// The scalars that equal this one when case is ignored, as far as single scalars go.
  static func folded(_ value: UInt32) -> ScalarSet {
    guard let scalar = Unicode.Scalar(value) else { return .ranges([value...value]) }
    var members: Set<UInt32> = [value]
    func add(_ text: String) {
      if let only = text.unicodeScalars.first, text.unicodeScalars.count == 1 { members.insert(only.value) }
    }
    add(scalar.properties.lowercaseMapping)
    add(scalar.properties.uppercaseMapping)
    // Scalars whose lower or upper case is an ASCII letter, or that share one.
    for group in [[0x73, 0x53, 0x17F], [0x6B, 0x4B, 0x212A], [0xE5, 0xC5, 0x212B]] as [[UInt32]]
    where group.contains(value) {
      members.formUnion(group)
    }
    return .ranges(members.sorted().map { $0...$0 })
  }
}
