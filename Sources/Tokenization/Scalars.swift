// Unicode scalars as bytes, and what the library's regular expressions call letters, numbers and space.
//
// The oracle (Hugging Face tokenizers 0.23) takes its character classes from four places of different age:
// Oniguruma's (Unicode 16) for `Split`, `ByteLevel` and `Replace`; Rust's own (17) for `Digits`, `WhitespaceSplit`
// and `Lowercase`; the crate unicode_categories (8) for `Punctuation`; unicode-normalization-alignments (9) for NFC and
// its like and for `StripAccents`. Swift's properties are of Unicode 17 and know the age of every scalar, so the older
// views are the new one with younger scalars taken as unassigned, plus the few that changed their category.

/// The scalar starting at `at` and its length in bytes. `bytes` must be valid UTF-8 from there on.
@inline(__always)
func scalar(in bytes: UnsafeBufferPointer<UInt8>, at: Int) -> (value: UInt32, length: Int) {
  let lead = bytes[at]
  if lead < 0x80 { return (UInt32(lead), 1) }
  let second = UInt32(bytes[at + 1] & 0x3F)
  if lead < 0xE0 { return (UInt32(lead & 0x1F) << 6 | second, 2) }
  let third = UInt32(bytes[at + 2] & 0x3F)
  if lead < 0xF0 { return (UInt32(lead & 0x0F) << 12 | second << 6 | third, 3) }
  return (UInt32(lead & 0x07) << 18 | second << 12 | third << 6 | UInt32(bytes[at + 3] & 0x3F), 4)
}

/// Where the scalar that ends at `end` starts.
@inline(__always)
func scalarStart(in bytes: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
  var at = end - 1
  while at > 0, bytes[at] & 0xC0 == 0x80 { at -= 1 }
  return at
}

@inline(__always)
func appendScalar(_ value: UInt32, to out: inout [UInt8]) {
  if value < 0x80 {
    out.append(UInt8(value))
  } else if value < 0x800 {
    out.append(UInt8(0xC0 | value >> 6))
    out.append(UInt8(0x80 | value & 0x3F))
  } else if value < 0x10000 {
    out.append(UInt8(0xE0 | value >> 12))
    out.append(UInt8(0x80 | value >> 6 & 0x3F))
    out.append(UInt8(0x80 | value & 0x3F))
  } else {
    out.append(UInt8(0xF0 | value >> 18 & 0x07))
    out.append(UInt8(0x80 | value >> 12 & 0x3F))
    out.append(UInt8(0x80 | value >> 6 & 0x3F))
    out.append(UInt8(0x80 | value & 0x3F))
  }
}

/// A set of general categories and two binary properties, as bits: 0–29 the categories in the order of
/// `ScalarClass.names`, 30 White_Space, 31 Alphabetic.
typealias ClassMask = UInt32

enum ScalarClass {
  static let names = [
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
    "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
  ]
  static let whiteSpace: ClassMask = 1 << 30
  static let alphabetic: ClassMask = 1 << 31

  /// The mask of a category ("Lu") or a group of them ("L"); nil for an unknown name.
  static func mask(named name: String) -> ClassMask? {
    var mask: ClassMask = 0
    for (index, category) in names.enumerated() where category == name || (name.count == 1 && category.hasPrefix(name))
    {
      mask |= 1 << UInt32(index)
    }
    return mask == 0 ? nil : mask
  }

  static let marks: ClassMask = 0b111 << 5

  /// Scalars from here on are looked up one by one; only tags, variation selectors and private use live there.
  private static let tableEnd: UInt32 = 0x33480

  /// One byte per scalar: category index, and the bits below. Built on first use from Swift's properties (a few
  /// milliseconds), never freed.
  private static let spaceBit: UInt8 = 0x20
  private static let alphabeticBit: UInt8 = 0x40
  private static let composedBit: UInt8 = 0x80
  private nonisolated(unsafe) static let table: UnsafePointer<UInt8> = {
    let table = UnsafeMutablePointer<UInt8>.allocate(capacity: Int(tableEnd))
    for value in 0..<tableEnd { table[Int(value)] = compute(value) }
    return UnsafePointer(table)
  }()

  private static func compute(_ value: UInt32) -> UInt8 {
    guard let scalar = Unicode.Scalar(value) else { return 27 }
    let properties = scalar.properties
    var entry: UInt8
    // Oniguruma's Unicode 16 view.
    if isOlder(scalar, than: 17) {
      entry = index(of: properties.generalCategory)
      if value == 0x295 { entry = 1 }  // Ll until Unicode 17
      if properties.isWhitespace { entry |= spaceBit }
      if properties.isAlphabetic { entry |= alphabeticBit }
    } else {
      entry = 29
    }
    let isMark = marks >> UInt32(entry & 0x1F) & 1 == 1
    let isJamo = (0x1100...0x11FF).contains(value)
    if value < 0x300 || !(isMark || isJamo || properties.isFullCompositionExclusion) { entry |= composedBit }
    return entry
  }

  @inline(__always)
  private static func entry(_ value: UInt32) -> UInt8 { value < tableEnd ? table[Int(value)] : compute(value) }

  /// The category bit of a scalar and its property bits.
  @inline(__always)
  static func bits(of value: UInt32) -> ClassMask {
    let entry = entry(value)
    return 1 << UInt32(entry & 0x1F) | UInt32(entry & (spaceBit | alphabeticBit)) << 25
  }

  /// Whether NFC leaves this scalar alone whatever stands before it.
  @inline(__always)
  static func isComposed(_ value: UInt32) -> Bool { entry(value) & composedBit != 0 }

  /// Whether the scalar was assigned before Unicode `major`.0.
  static func isOlder(_ scalar: Unicode.Scalar, than major: Int) -> Bool {
    guard let age = scalar.properties.age else { return scalar.properties.generalCategory != .unassigned }
    return age.major < major
  }

  private static func index(of category: Unicode.GeneralCategory) -> UInt8 {
    switch category {
    case .uppercaseLetter: 0
    case .lowercaseLetter: 1
    case .titlecaseLetter: 2
    case .modifierLetter: 3
    case .otherLetter: 4
    case .nonspacingMark: 5
    case .spacingMark: 6
    case .enclosingMark: 7
    case .decimalNumber: 8
    case .letterNumber: 9
    case .otherNumber: 10
    case .connectorPunctuation: 11
    case .dashPunctuation: 12
    case .openPunctuation: 13
    case .closePunctuation: 14
    case .initialPunctuation: 15
    case .finalPunctuation: 16
    case .otherPunctuation: 17
    case .mathSymbol: 18
    case .currencySymbol: 19
    case .modifierSymbol: 20
    case .otherSymbol: 21
    case .spaceSeparator: 22
    case .lineSeparator: 23
    case .paragraphSeparator: 24
    case .control: 25
    case .format: 26
    case .surrogate: 27
    case .privateUse: 28
    case .unassigned: 29
    @unknown default: 29
    }
  }

  // MARK: The other views

  /// Rust's `char::is_whitespace`, which is White_Space in every version.
  static func isWhitespace(_ value: UInt32) -> Bool { bits(of: value) & whiteSpace != 0 }

  /// Rust's `char::is_numeric`: categories Nd, Nl, No.
  static func isNumeric(_ value: UInt32) -> Bool {
    if value < 0x80 { return value >= 0x30 && value <= 0x39 }
    switch Unicode.Scalar(value)?.properties.generalCategory {
    case .decimalNumber, .letterNumber, .otherNumber: return true
    default: return false
    }
  }

  /// ASCII punctuation, or punctuation as Unicode 8 had it.
  static func isPunctuation(_ value: UInt32) -> Bool {
    if value < 0x80 {
      return (0x21...0x2F).contains(value) || (0x3A...0x40).contains(value) || (0x5B...0x60).contains(value)
        || (0x7B...0x7E).contains(value)
    }
    if value == 0x166D || value == 0x111C9 { return true }
    guard let scalar = Unicode.Scalar(value), isOlder(scalar, than: 9) else { return false }
    return (0b111_1111 << 11 as ClassMask) & bits(of: value) != 0
  }

  /// `\w` of Rust's regex crate (Unicode 16): Alphabetic, marks, decimal digits, connectors, join controls.
  static func isWord(_ value: UInt32) -> Bool {
    if value == 0x200C || value == 0x200D { return true }
    return bits(of: value) & (alphabetic | marks | 1 << 8 | 1 << 11) != 0
  }

  /// A combining mark as Unicode 9 had it, for `StripAccents`.
  static func isCombiningMark(_ value: UInt32) -> Bool {
    if value < 0x300 || value == 0x111C9 { return false }
    if value == 0x1CF2 || value == 0x1CF3 { return true }
    guard bits(of: value) & marks != 0, let scalar = Unicode.Scalar(value) else { return false }
    return isOlder(scalar, than: 10)
  }

  /// A nonspacing mark as Unicode 8 had it, for `BertNormalizer`.
  static func isNonspacingMark(_ value: UInt32) -> Bool {
    switch value {
    case 0x1734, 0x1171E: return true
    case ..<0x300, 0x1885, 0x1886, 0xA9BD, 0x111C9: return false
    default:
      guard bits(of: value) & 1 << 5 != 0, let scalar = Unicode.Scalar(value) else { return false }
      return isOlder(scalar, than: 9)
    }
  }

  /// Control, format and private-use scalars as Unicode 8 had them, for `BertNormalizer`.
  static func isOther(_ value: UInt32) -> Bool {
    guard bits(of: value) & (0b1011 << 25) != 0, let scalar = Unicode.Scalar(value) else { return false }
    return isOlder(scalar, than: 9)
  }

  /// Script=Han of Unicode 16, from the oracle's own answers.
  static let han: [ClosedRange<UInt32>] = [
    0x2E80...0x2E99, 0x2E9B...0x2EF3, 0x2F00...0x2FD5, 0x3005...0x3005, 0x3007...0x3007, 0x3021...0x3029,
    0x3038...0x303B, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFA6D, 0xFA70...0xFAD9, 0x16FE2...0x16FE3,
    0x16FF0...0x16FF1, 0x20000...0x2A6DF, 0x2A700...0x2B739, 0x2B740...0x2B81D, 0x2B820...0x2CEA1,
    0x2CEB0...0x2EBE0, 0x2EBF0...0x2EE5D, 0x2F800...0x2FA1D, 0x30000...0x3134A, 0x31350...0x323AF,
  ]
}
