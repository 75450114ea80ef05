import Foundation

/// Numbers as people read them. Output does not depend on the locale: reports are compared and parsed.
public enum Format {
  /// Three digits and a unit: `512`, `12.3K`, `3.94M`, `6.00B`, `1.20T` (powers of a thousand).
  public static func count(_ value: Int) -> String {
    let size = value.magnitude
    if size < 1000 { return String(value) }
    return (value < 0 ? "-" : "") + threeDigits(Double(size), step: 1000, units: ["", "K", "M", "B", "T"])
  }

  /// Every digit, in groups of three: `3,935,936`.
  public static func grouped(_ value: Int) -> String {
    var text = ""
    for (index, digit) in String(value.magnitude).reversed().enumerated() {
      if index > 0, index % 3 == 0 { text.append(",") }
      text.append(digit)
    }
    return (value < 0 ? "-" : "") + String(text.reversed())
  }

  /// Powers of 1024: `512 B`, `1.5 GiB`.
  public static func bytes(_ value: Int) -> String {
    let sign = value < 0 ? "-" : ""
    var size = Double(value.magnitude)
    if size < 1024 { return "\(value) B" }
    var unit = "B"
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where size >= 1023.95 || unit == "B" {
      size /= 1024
      unit = next
    }
    return "\(sign)\(decimal(size, places: 1)) \(unit)"
  }

  /// `0.4s`, `12s`, `3m 12s`, `2h 05m`, `3d 04h`. What is not a time (negative, not finite) is `–`.
  public static func duration(_ seconds: Double) -> String {
    guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "–" }
    if seconds < 9.95 { return decimal(seconds, places: 1) + "s" }
    let total = Int(seconds.rounded())
    func two(_ value: Int) -> String { value < 10 ? "0\(value)" : String(value) }
    switch total {
    case ..<60: return "\(total)s"
    case ..<3600: return "\(total / 60)m \(two(total % 60))s"
    case ..<86400: return "\(total / 3600)h \(two(total / 60 % 60))m"
    default: return "\(total / 86400)d \(two(total / 3600 % 24))h"
    }
  }

  /// A time that was measured and may be compared: milliseconds where it is short, else as `duration` has it.
  public static func measured(_ seconds: Double) -> String {
    seconds >= 0 && seconds < 99.9995 ? decimal(seconds, places: 3) + "s" : duration(seconds)
  }

  /// A time in a sentence: `3.2 s`, `12 s`, from a minute on as `duration` has it.
  public static func elapsed(_ seconds: Double) -> String {
    let text = duration(seconds)
    return seconds < 59.5 && text.hasSuffix("s") ? text.dropLast() + " s" : text
  }

  /// A fraction of one as per cent: `0.9178` is `91.78%`. What is not finite is `–`.
  public static func percent(_ fraction: Double, places: Int = 2) -> String {
    fraction.isFinite ? decimal(fraction * 100, places: places) + "%" : "–"
  }

  /// `5.3 rows/s`, `12.3K tokens/s`. What is not a rate (negative, not finite) is `–`.
  public static func rate(_ perSecond: Double, unit: String) -> String {
    guard perSecond.isFinite, perSecond >= 0 else { return "–" }
    let number =
      perSecond < 999.5
      ? decimal(perSecond, places: perSecond < 9.95 ? 1 : 0)
      : threeDigits(perSecond, step: 1000, units: ["", "K", "M", "B", "T"])
    return "\(number) \(unit)/s"
  }

  /// `value` with `places` digits after the point, whatever the locale.
  public static func decimal(_ value: Double, places: Int) -> String {
    String(format: "%.\(max(0, min(places, 17)))f", locale: Locale(identifier: "en_US_POSIX"), value)
  }

  private static func threeDigits(_ value: Double, step: Double, units: [String]) -> String {
    var value = value
    var unit = 0
    // Rounding may carry into the next unit: 999,999 is 1.00M, not 1000K.
    while value >= 999.5, unit + 1 < units.count {
      value /= step
      unit += 1
    }
    return decimal(value, places: value < 9.995 ? 2 : value < 99.95 ? 1 : 0) + units[unit]
  }
}
