import Formatting
import Foundation
import Report
import Testing

struct FormatTests {
  @Test(arguments: [
    (0, "0"), (999, "999"), (1000, "1.00K"), (12_345, "12.3K"), (999_499, "999K"), (999_999, "1.00M"),
    (3_935_936, "3.94M"), (6_000_000_000, "6.00B"), (9_996_000, "10.0M"), (-1500, "-1.50K"),
    (Int.max, "9223372T"), (Int.min, "-9223372T"),
  ])
  func countsHaveThreeDigits(value: Int, text: String) { #expect(Format.count(value) == text) }

  @Test(arguments: [(0, "0"), (999, "999"), (1000, "1,000"), (3_935_936, "3,935,936"), (-12_345, "-12,345")])
  func groupsDigits(value: Int, text: String) { #expect(Format.grouped(value) == text) }

  @Test func groupsTheLargestAndTheSmallest() {
    #expect(Format.grouped(.max) == "9,223,372,036,854,775,807")
    #expect(Format.grouped(.min) == "-9,223,372,036,854,775,808")
  }

  @Test(arguments: [
    (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_610_612_736, "1.5 GiB"), (1024 * 1024 - 1, "1.0 MiB"),
    (-2048, "-2.0 KiB"), (Int.max, "8.0 EiB"),
  ])
  func bytesAreBinary(value: Int, text: String) { #expect(Format.bytes(value) == text) }

  @Test(
    arguments: [
      (0, "0.0s"), (0.44, "0.4s"), (9.96, "10s"), (59.4, "59s"), (59.6, "1m 00s"), (192, "3m 12s"), (7500, "2h 05m"),
      (273_600, "3d 04h"), (-1, "–"), (.nan, "–"), (.infinity, "–"), (1e300, "–"),
    ] as [(Double, String)])
  func durations(seconds: Double, text: String) { #expect(Format.duration(seconds) == text) }

  @Test func fractionsAndRates() {
    #expect(Format.percent(0.91778) == "91.78%")
    #expect(Format.percent(1, places: 0) == "100%")
    #expect(Format.percent(.nan) == "–")
    #expect(Format.rate(5.31, unit: "rows") == "5.3 rows/s")
    #expect(Format.rate(431.2, unit: "rows") == "431 rows/s")
    #expect(Format.rate(12_345, unit: "tokens") == "12.3K tokens/s")
    #expect(Format.rate(.infinity, unit: "rows") == "–")
    #expect(Format.decimal(1.0 / 3, places: 3) == "0.333")
  }

  @Test(arguments: [
    ("6e9", 6_000_000_000), ("6B", 6_000_000_000), ("600M", 600_000_000), ("1.5b", 1_500_000_000), ("6_000", 6000),
    ("0", 0), ("0.0", 0), ("0e99999999999", 0), ("20k", 20_000), ("1.1B", 1_100_000_000), ("+7", 7), (" 7 ", 7),
    ("7 M", 7_000_000), ("2.5e1", 25), ("1500e-2", 15), ("6.0E+9", 6_000_000_000), (".5K", 500), ("5.", 5),
    ("9223372036854775807", Int.max), ("0.003935936B", 3_935_936), ("1T", 1_000_000_000_000),
  ])
  func readsCounts(text: String, value: Int) throws { #expect(try Format.parseCount(text) == value) }

  @Test(arguments: [
    "", " ", "-5", "-0", "nan", "NaN", "inf", "-inf", "infinity", "B", "e9", "1e", "1e+", "6X", "6BB", "6e9B", "0x10",
    "1__0",
    "_1", "1_", "1_.5", "1._5", "1.2.3", "1,000", "1.5", "1e-3", "9223372036854775808", "1e19",
    "1e99999999999999999999",
    "9999999999999T", "18446744073709551616", "18446744073709551616.5", "0.00000000000000000000000000000000000001", "٣",
    "６", "1\u{0}", "--5", "+-5", "6B\u{1B}[31m",
  ])
  func refusesWhatIsNoCount(text: String) throws {
    let error = try #require(throws: NumberError.self) { try Format.parseCount(text) }
    #expect(error.description.contains("6_000_000_000"), "says what is accepted")
    #expect(!error.description.contains("\u{1B}"), "repeats nothing that steers a terminal")
    #expect(error.description.count < 300)
  }

  @Test func namesTheProblem() {
    func problem(_ text: String) -> String {
      do { return "\(try Format.parseCount(text))" } catch { return "\(error)" }
    }
    #expect(problem("6X").hasPrefix("\"6X\" ends in \"x\", which is no unit of a count. Accepted: whole numbers"))
    #expect(problem("-5").contains("is negative"))
    #expect(problem("1e30").contains("is too large"))
    #expect(problem("1.5").contains("is not a whole number"))
    #expect(problem("1__0").contains("underscore"))
  }

  @Test func longTextIsShortenedInMessages() throws {
    let error = try #require(throws: NumberError.self) {
      try Format.parseCount(String(repeating: "9", count: 1_000_000))
    }
    #expect(error.description.contains("too large") && error.description.count < 300)
  }

  @Test(arguments: [
    ("4GiB", 4_294_967_296), ("4G", 4_294_967_296), ("4gib", 4_294_967_296), ("512MiB", 536_870_912),
    ("8GB", 8_000_000_000), ("1.5 GiB", 1_610_612_736), ("0.3KiB", 307), ("100", 100), ("100B", 100),
    ("1e9", 1_000_000_000),
    ("0.1PiB", 112_589_990_684_262), ("1e-30", 0), ("8191PiB", 8191 << 50),
  ])
  func readsSizes(text: String, value: Int) throws { #expect(try Format.parseBytes(text) == value) }

  @Test(arguments: ["", "-4GiB", "4XiB", "nan", "8192PiB", "1e19", "GiB", "4 Gi B", "1e3GiB", "99999999999999999999"])
  func refusesWhatIsNoSize(text: String) throws {
    let error = try #require(throws: NumberError.self) { try Format.parseBytes(text) }
    #expect(error.description.contains("4GiB"))
  }

  @Test func readsNumbers() throws {
    #expect(try Format.parseNumber("12_288.5") == 12288.5)
    #expect(try Format.parseNumber("0.4") == 0.4)
    #expect(try Format.parseNumber("1.2e4") == 12000)
    #expect(try Format.parseNumber("0") == 0)
    for text in ["1e400", "1K", "-1", "nan", "inf", "", "0.4x"] {
      #expect(throws: NumberError.self) { try Format.parseNumber(text) }
    }
  }

  @Test func countsSurviveTheRoundTripThroughDecimalText() throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let value = Int.random(in: 0...Int.max, using: &generator) >> Int.random(in: 0...62, using: &generator)
      #expect(try Format.parseCount(String(value)) == value)
      // The same number with the point moved to the left and back by the exponent.
      let places = Int.random(in: 1...18, using: &generator)
      let digits = String(repeating: "0", count: places) + String(value)
      let moved = digits.dropLast(places) + "." + digits.suffix(places) + "e\(places)"
      #expect(try Format.parseCount(String(moved)) == value, "\(moved)")
    }
  }
}
