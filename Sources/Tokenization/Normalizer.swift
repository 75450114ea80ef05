internal import JSON

/// The `normalizer` of a tokenizer file: rewrites text before it is cut.
indirect enum Normalizer: Sendable {
  case sequence([Normalizer])
  case form(NormalizationForm)
  case prepend([UInt8])
  case replace(TextPattern, content: [UInt8])
  case lowercase
  case strip(left: Bool, right: Bool)
  case stripAccents
  case nmt
  case precompiled(Charsmap)
  case byteLevel
  case bert(clean: Bool, chinese: Bool, accents: Bool, lowercase: Bool)

  static let names = [
    "Sequence", "NFC", "NFD", "NFKC", "NFKD", "Prepend", "Replace", "Lowercase", "Strip", "StripAccents", "Nmt",
    "Precompiled", "ByteLevel", "BertNormalizer",
  ]

  init(_ field: Field) throws {
    let type = try field.required("type").string()
    switch type {
    case "Sequence": self = .sequence(try field.required("normalizers").elements().map(Normalizer.init))
    case "NFC": self = .form(.nfc)
    case "NFD": self = .form(.nfd)
    case "NFKC": self = .form(.nfkc)
    case "NFKD": self = .form(.nfkd)
    case "Prepend": self = .prepend(try field.required("prepend").bytes())
    case "Replace":
      self = .replace(
        try TextPattern(field.required("pattern")), content: try field.required("content").bytes())
    case "Lowercase": self = .lowercase
    case "Strip":
      self = .strip(
        left: try field.required("strip_left").bool(), right: try field.required("strip_right").bool())
    case "StripAccents": self = .stripAccents
    case "Nmt": self = .nmt
    case "Precompiled": self = .precompiled(try Charsmap(field.required("precompiled_charsmap")))
    case "ByteLevel": self = .byteLevel
    case "BertNormalizer":
      let lowercase = try field.bool("lowercase", default: true)
      self = .bert(
        clean: try field.bool("clean_text", default: true),
        chinese: try field.bool("handle_chinese_chars", default: true),
        accents: try field.bool("strip_accents", default: lowercase), lowercase: lowercase)
    default: throw field.unknown("normalizer", type, known: Self.names)
    }
  }

  /// The normalized text; nil when it is the same.
  ///
  /// `atOrigin` says whether the first byte comes from the very start of the input; normalizers that take away from
  /// the front clear it (`Metaspace` with the scheme `first` asks).
  func normalize(_ text: UnsafeBufferPointer<UInt8>, atOrigin: inout Bool, _ effort: Effort) throws -> [UInt8]? {
    try effort.spend(text.count + 1, "the normalizer")
    switch self {
    case .sequence(let parts):
      var current: [UInt8]?
      for part in parts {
        let next =
          if let current {
            try current.withUnsafeBufferPointer { try part.normalize($0, atOrigin: &atOrigin, effort) }
          } else {
            try part.normalize(text, atOrigin: &atOrigin, effort)
          }
        if let next { current = next }
        try Limits.check(current?.count ?? 0, from: text.count)
      }
      return current
    case .form(let form): return form.normalize(text)
    case .prepend(let prefix):
      try effort.spend(prefix.count, "the normalizer")
      return text.isEmpty ? nil : prefix + text
    case .replace(let pattern, let content):
      return try pattern.replace(in: text, with: content, atOrigin: &atOrigin, effort)
    case .lowercase: return Self.lowercase(text)
    case .strip(let left, let right): return Self.strip(text, left: left, right: right, atOrigin: &atOrigin)
    case .stripAccents:
      return Self.filter(text, atOrigin: &atOrigin) { ScalarClass.isCombiningMark($0) ? nil : $0 }
    case .nmt: return Self.filter(text, atOrigin: &atOrigin, Self.nmt)
    case .precompiled(let map): return try map.normalize(text, effort)
    case .byteLevel: return text.isEmpty ? nil : ByteAlphabet.map(text)
    case .bert(let clean, let chinese, let accents, let lowercase):
      return Self.bert(text, clean, chinese, accents, lowercase, &atOrigin)
    }
  }

  /// Maps or drops scalars.
  private static func filter(
    _ text: UnsafeBufferPointer<UInt8>, atOrigin: inout Bool, _ keep: (UInt32) -> UInt32?
  ) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = 0
    while at < text.count {
      let (value, length) = scalar(in: text, at: at)
      if let kept = keep(value) { appendScalar(kept, to: &out) } else if out.isEmpty { atOrigin = false }
      at += length
    }
    return out
  }

  private static func lowercase(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = 0
    while at < text.count {
      let byte = text[at]
      if byte < 0x80 {
        out.append((0x41...0x5A).contains(byte) ? byte | 0x20 : byte)
        at += 1
        continue
      }
      let (value, length) = scalar(in: text, at: at)
      if let scalar = Unicode.Scalar(value) { out.append(contentsOf: scalar.properties.lowercaseMapping.utf8) }
      at += length
    }
    return out
  }

  private static func strip(
    _ text: UnsafeBufferPointer<UInt8>, left: Bool, right: Bool, atOrigin: inout Bool
  ) -> [UInt8]? {
    var start = 0
    var end = text.count
    while left, start < end {
      let (value, length) = scalar(in: text, at: start)
      if !ScalarClass.isWhitespace(value) { break }
      start += length
    }
    while right, end > start {
      let last = scalarStart(in: text, before: end)
      if !ScalarClass.isWhitespace(scalar(in: text, at: last).value) { break }
      end = last
    }
    if start > 0 { atOrigin = false }
    return start == 0 && end == text.count ? nil : Array(text[start..<end])
  }

  /// SentencePiece's `nmt_nfkc` clean-up: control characters go, odd spaces become plain ones.
  private static func nmt(_ value: UInt32) -> UInt32? {
    switch value {
    case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: nil
    case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: 0x20
    default: value
    }
  }

  private static func bert(
    _ text: UnsafeBufferPointer<UInt8>, _ clean: Bool, _ chinese: Bool, _ accents: Bool, _ lowercase: Bool,
    _ atOrigin: inout Bool
  ) -> [UInt8] {
    var out = Array(text)
    if clean {
      out = filter(text, atOrigin: &atOrigin) { value in
        switch value {
        case 0x09, 0x0A, 0x0D: 0x20
        case 0, 0xFFFD: nil
        default: ScalarClass.isOther(value) ? nil : ScalarClass.isWhitespace(value) ? 0x20 : value
        }
      }
    }
    if chinese { out = out.withUnsafeBufferPointer(spaceIdeographs) }
    if accents {
      out = out.withUnsafeBufferPointer { NormalizationForm.nfd.normalize($0) } ?? out
      out = out.withUnsafeBufferPointer {
        filter($0, atOrigin: &atOrigin) { ScalarClass.isNonspacingMark($0) ? nil : $0 }
      }
    }
    return lowercase ? out.withUnsafeBufferPointer(Self.lowercase) : out
  }

  private static func spaceIdeographs(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    var at = 0
    while at < text.count {
      let (value, length) = scalar(in: text, at: at)
      switch value {
      case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
        0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
        out.append(0x20)
        appendScalar(value, to: &out)
        out.append(0x20)
      default: appendScalar(value, to: &out)
      }
      at += length
    }
    return out
  }
}
