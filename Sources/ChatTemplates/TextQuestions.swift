extension Text {
  var isLower: Bool {
    var hasCase = false
    for scalar in scalars {
      if scalar.isUpper || scalar.isTitle { return false }
      if scalar.isLower { hasCase = true }
    }
    return hasCase
  }

  var isUpper: Bool {
    var hasCase = false
    for scalar in scalars {
      if scalar.isLower || scalar.isTitle { return false }
      if scalar.isUpper { hasCase = true }
    }
    return hasCase
  }

  var isTitle: Bool {
    var (hasCase, isInWord) = (false, false)
    for scalar in scalars {
      if scalar.isUpper || scalar.isTitle {
        if isInWord { return false }
        (hasCase, isInWord) = (true, true)
      } else if scalar.isLower {
        if !isInWord { return false }
        hasCase = true
      } else {
        isInWord = false
      }
    }
    return hasCase
  }

  /// What `escape` makes of it: safe to stand in HTML. Markup is that already.
  func escaped() -> Text {
    if isMarkup { return self }
    var out: [UInt8] = []
    out.reserveCapacity(utf8.count)
    for byte in utf8 {
      switch byte {
      case UInt8(ascii: "&"): out += "&amp;".utf8
      case UInt8(ascii: "<"): out += "&lt;".utf8
      case UInt8(ascii: ">"): out += "&gt;".utf8
      case UInt8(ascii: "'"): out += "&#39;".utf8
      case UInt8(ascii: "\""): out += "&#34;".utf8
      default: out.append(byte)
      }
    }
    return Text(out, isMarkup: true)
  }
}
