/// Unicode normalization as the oracle does it: the rules and tables of Unicode 9. Scalars assigned later are left
/// alone, and nothing composes with them or moves past them.
enum NormalizationForm {
  case nfc, nfd, nfkc, nfkd

  /// The normalized text; nil when it is the same.
  func normalize(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let start = firstChange(in: text) else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 8)
    out.append(contentsOf: text[..<start])
    var runStart = start
    var at = start
    func flush(to end: Int) {
      if end > runStart { append(UnsafeBufferPointer(rebasing: text[runStart..<end]), to: &out) }
    }
    var isPlain = false
    while at < text.count {
      let (value, length) = scalar(in: text, at: at)
      if value >= 0x80, isYoung(value) {
        flush(to: at)
        out.append(contentsOf: text[at..<at + length])
        runStart = at + length
        isPlain = false
      } else if self == .nfc, ScalarClass.isComposed(value) {
        // Nothing composes across the gap before the second of two plain scalars.
        if isPlain {
          out.append(contentsOf: text[runStart..<at])
        } else {
          flush(to: at)
        }
        runStart = at
        isPlain = true
      } else {
        isPlain = false
      }
      at += length
    }
    if isPlain { out.append(contentsOf: text[runStart...]) } else { flush(to: at) }
    return out
  }

  /// Where the first run starts that may change.
  private func firstChange(in text: UnsafeBufferPointer<UInt8>) -> Int? {
    var at = 0
    var plain = 0
    while at < text.count {
      if text[at] < 0x80 {
        plain = at
        at += 1
        continue
      }
      let (value, length) = scalar(in: text, at: at)
      switch self {
      case .nfc where ScalarClass.isComposed(value): plain = at
      case .nfc, .nfkc: return plain
      case .nfd, .nfkd: return at
      }
      at += length
    }
    return nil
  }

  private func isYoung(_ value: UInt32) -> Bool {
    guard value >= 0x300, let scalar = Unicode.Scalar(value) else { return false }
    return !ScalarClass.isOlder(scalar, than: 10)
  }

  private func append(_ run: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
    let table = self == .nfc || self == .nfd ? Decompositions.canonical : Decompositions.compatible
    var scalars: [(value: UInt32, combining: UInt8)] = []
    scalars.reserveCapacity(run.count)
    var at = 0
    while at < run.count {
      let (value, length) = scalar(in: run, at: at)
      table.append(value, to: &scalars)
      at += length
    }
    Decompositions.order(&scalars)
    if self == .nfc || self == .nfkc { Composition.compose(&scalars) }
    for scalar in scalars { appendScalar(scalar.value, to: &out) }
  }
}
