internal import JSON

/// The `decoder` of a tokenizer file: turns tokens back into text.
indirect enum Decoder: Sendable {
  case sequence([Decoder])
  case byteLevel
  case byteFallback
  case fuse
  case metaspace(replacement: [UInt8], dropsFirst: Bool)
  case replace(TextPattern, [UInt8])
  case strip(UInt32, start: Int, stop: Int)
  case suffix([UInt8])
  case wordPiece(prefix: [UInt8], cleanup: Bool)

  static let names = [
    "Sequence", "ByteLevel", "ByteFallback", "Fuse", "Metaspace", "Replace", "Strip", "BPEDecoder", "WordPiece",
  ]

  init(_ field: Field) throws {
    let type = try field.required("type").string()
    switch type {
    case "Sequence": self = .sequence(try field.required("decoders").elements().map(Decoder.init))
    case "ByteLevel": self = .byteLevel
    case "ByteFallback": self = .byteFallback
    case "Fuse": self = .fuse
    case "Metaspace":
      let (replacement, scheme) = try PreTokenizer.metaspaceOptions(field)
      self = .metaspace(replacement: replacement, dropsFirst: scheme != .never)
    case "Replace":
      self = .replace(try TextPattern(field.required("pattern")), try field.required("content").bytes())
    case "Strip":
      self = .strip(
        try field.required("content").scalar().value, start: try field.required("start").count(),
        stop: try field.required("stop").count())
    case "BPEDecoder": self = .suffix(try field.required("suffix").bytes())
    case "WordPiece":
      self = .wordPiece(
        prefix: try field.required("prefix").bytes(), cleanup: try field.required("cleanup").bool())
    default: throw field.unknown("decoder", type, known: Self.names)
    }
  }

  func decode(_ tokens: [[UInt8]], _ effort: Effort) throws -> [[UInt8]] {
    switch self {
    case .sequence(let parts):
      let count = tokens.reduce(0) { $0 + $1.count }
      return try parts.reduce(tokens) { current, part in
        let next = try part.decode(current, effort)
        try effort.spend(current.count, "the decoder")
        try Limits.check(next.reduce(0) { $0 + $1.count }, from: count)
        return next
      }
    case .byteLevel: return [Self.repaired(tokens.flatMap { ByteAlphabet.unmap($0) ?? $0 })]
    case .byteFallback: return Self.byteFallback(tokens)
    case .fuse: return [Array(tokens.joined())]
    case .metaspace(let replacement, let dropsFirst):
      return tokens.enumerated().map { index, token in
        Self.replacing(replacement, in: token, with: index == 0 && dropsFirst ? [] : [0x20])
      }
    case .replace(let pattern, let content):
      return try tokens.map { token in
        var origin = true
        let replaced = try token.withUnsafeBufferPointer {
          try pattern.replace(in: $0, with: content, atOrigin: &origin, effort)
        }
        return replaced ?? token
      }
    case .strip(let content, let start, let stop): return tokens.map { Self.strip($0, content, start, stop) }
    case .suffix(let suffix):
      return tokens.enumerated().map { index, token in
        Self.replacing(suffix, in: token, with: index == tokens.count - 1 ? [] : [0x20])
      }
    case .wordPiece(let prefix, let cleanup):
      return tokens.enumerated().map { index, token in
        var token = token
        if index > 0 { token = token.starts(with: prefix) ? Array(token.dropFirst(prefix.count)) : [0x20] + token }
        return cleanup ? Self.cleaned(token) : token
      }
    }
  }

  /// Valid UTF-8 from any bytes: U+FFFD for every maximal part that is not.
  private static func repaired(_ bytes: [UInt8]) -> [UInt8] { Array(String(decoding: bytes, as: UTF8.self).utf8) }

  /// `<0x41>` becomes its byte; runs of them that are not UTF-8 one U+FFFD each.
  private static func byteFallback(_ tokens: [[UInt8]]) -> [[UInt8]] {
    var out: [[UInt8]] = []
    var run: [UInt8] = []
    func flush() {
      if run.isEmpty { return }
      if String(validating: run, as: UTF8.self) != nil {
        out.append(run)
      } else {
        out.append(contentsOf: Array(repeating: [0xEF, 0xBF, 0xBD], count: run.count))
      }
      run.removeAll()
    }
    for token in tokens {
      if let byte = byte(token) {
        run.append(byte)
      } else {
        flush()
        out.append(token)
      }
    }
    flush()
    return out
  }

  private static func byte(_ token: [UInt8]) -> UInt8? {
    guard token.count == 6, token.starts(with: "<0x".utf8), token[5] == UInt8(ascii: ">") else { return nil }
    return UInt8(String(decoding: token[3..<5], as: UTF8.self), radix: 16)
  }

  private static func replacing(_ old: [UInt8], in token: [UInt8], with new: [UInt8]) -> [UInt8] {
    token.withUnsafeBufferPointer { token in
      var out: [UInt8] = []
      var last = 0
      let effort = Effort(bytes: token.count, file: "decoder")
      // A literal pattern throws nothing but for tokens that are longer than any vocabulary has.
      try? TextPattern.literal(old).matches(in: token, effort) { start, end in
        out.append(contentsOf: token[last..<start])
        out.append(contentsOf: new)
        last = end
      }
      out.append(contentsOf: token[last...])
      return out
    }
  }

  /// Takes up to `start` and `stop` of a character off the ends; both look at the whole token.
  private static func strip(_ token: [UInt8], _ content: UInt32, _ start: Int, _ stop: Int) -> [UInt8] {
    let scalars = Array(String(decoding: token, as: UTF8.self).unicodeScalars)
    var first = 0
    while first < min(start, scalars.count), scalars[first].value == content { first += 1 }
    var last = scalars.count
    while last > 0, scalars.count - last < stop, scalars[last - 1].value == content { last -= 1 }
    var out: [UInt8] = []
    for scalar in scalars[first..<max(first, last)] { appendScalar(scalar.value, to: &out) }
    return out
  }

  private static let cleanups: [(String, String)] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ]

  private static func cleaned(_ token: [UInt8]) -> [UInt8] {
    cleanups.reduce(token) { replacing(Array($1.0.utf8), in: $0, with: Array($1.1.utf8)) }
  }
}
