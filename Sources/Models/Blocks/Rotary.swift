import Foundation

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) with the scalings of `transformers`'
/// `modeling_rope_utils.py`. Reads both spellings: `rope_theta` + `rope_scaling`, and `rope_parameters`.
public struct Rotary: Sendable, Hashable {
  public enum Scaling: Sendable, Hashable {
    case none
    case linear(factor: Double)
    /// NTK-aware: the base grows with the sequence once it is longer than `max_position_embeddings`.
    case dynamic(factor: Double)
    /// Llama 3.1: long wavelengths are divided, short ones kept, those between interpolated.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, original: Double)
    /// YaRN (Peng et al. 2023, arXiv 2309.00071).
    case yarn(
      factor: Double, fast: Double, slow: Double, original: Double, truncate: Bool, attention: Double)
    /// LongRoPE (Ding et al. 2024, arXiv 2402.13753): a divisor for each frequency, one list for sequences of up to
    /// `original` tokens and one for longer ones.
    case longrope(short: [Double], long: [Double], original: Double, attention: Double)
  }

  public let dimension: Int
  public let theta: Double
  public let scaling: Scaling
  public let maxPositions: Int

  /// Positions of all layers alike: `rope_theta` and `rope_scaling`, or `rope_parameters`.
  ///
  /// - Parameters:
  ///   - dimension: head_dim.
  ///   - partial: the part of head_dim that turns when the config does not say; nil for families in which all does.
  /// - Throws: `ModelError` for an unknown type or a field that is missing or out of range.
  init(
    _ config: ConfigReader, dimension: Int, defaultTheta: Double = 10_000, partial: Double? = nil,
    thetaKey: String = "rope_theta", partialKey: String = "partial_rotary_factor"
  ) throws {
    let section = try config.section("rope_scaling") ?? config.section("rope_parameters")
    try self.init(
      config, section: section, dimension: dimension, theta: config.positive(thetaKey, default: defaultTheta),
      partial: partial.map { try config.positive(partialKey, default: $0) })
  }

  /// Positions by a section of their own (Gemma 3 has one for each kind of layer).
  ///
  /// - Parameters:
  ///   - section: as `rope_parameters`; nil for unscaled positions.
  ///   - theta, partial: where the section does not say.
  init(_ config: ConfigReader, section: ConfigReader?, dimension: Int, theta: Double, partial: Double?) throws {
    let part = try section?.positive("partial_rotary_factor", default: partial ?? 1) ?? partial ?? 1
    guard part == 1 || (partial != nil && part < 1) else {
      let range = partial == nil ? "1 for this family" : "above 0 and at most 1"
      throw ModelError("\(config.file): \"partial_rotary_factor\" should be \(range), found \(part)")
    }
    let turning = Int(Double(dimension) * part)
    guard turning % 2 == 0, turning > 0 else {
      throw ModelError(
        "\(config.file): rotary positions want an even head_dim (or rotated part of it), found \(turning)")
    }
    self.dimension = turning
    maxPositions = try config.size("max_position_embeddings", default: 2048)
    self.theta = try section?.positive("rope_theta", default: theta) ?? theta
    let positions = maxPositions
    scaling =
      try section.map { try Self.scaling($0, config: config, maxPositions: positions, dimension: turning) } ?? .none
  }

  private static func scaling(_ section: ConfigReader, config: ConfigReader, maxPositions: Int, dimension: Int) throws
    -> Scaling
  {
    let type = try section.string("rope_type", default: section.string("type", default: "default"))
    func original() throws -> Double {
      if let value = try config.optionalSize("original_max_position_embeddings") { return Double(value) }
      return Double(try section.size("original_max_position_embeddings", default: maxPositions))
    }
    switch type {
    case "default": return .none
    case "linear": return .linear(factor: try section.positive("factor"))
    case "dynamic": return .dynamic(factor: try section.positive("factor"))
    case "llama3":
      return .llama3(
        factor: try section.positive("factor"), lowFrequency: try section.positive("low_freq_factor"),
        highFrequency: try section.positive("high_freq_factor"), original: try original())
    case "yarn":
      let original = try original()
      let factor = try section.optionalNumber("factor") ?? (Double(maxPositions) / original)
      guard factor > 0 else { throw ModelError("\(section.file): \"factor\" should be above zero, found \(factor)") }
      func magnitude(_ scale: Double = 1) -> Double { factor <= 1 ? 1 : 0.1 * scale * log(factor) + 1 }
      var attention = magnitude()
      if let m = try section.optionalNumber("mscale"), let all = try section.optionalNumber("mscale_all_dim"),
        m != 0, all != 0
      {
        attention = magnitude(m) / magnitude(all)
      }
      func orDefault(_ key: String, _ fallback: Double) throws -> Double {
        let value = try section.number(key, default: fallback)
        return value == 0 ? fallback : value
      }
      return .yarn(
        factor: factor, fast: try orDefault("beta_fast", 32), slow: try orDefault("beta_slow", 1),
        original: original, truncate: try section.flag("truncate", default: true),
        attention: try section.optionalNumber("attention_factor") ?? attention)
    case "longrope", "su":
      let original = try original()
      let factor = try section.optionalNumber("factor") ?? (Double(maxPositions) / original)
      let attention = factor <= 1 ? 1 : (1 + log(factor) / log(original)).squareRoot()
      return .longrope(
        short: try section.positives("short_factor", count: dimension / 2),
        long: try section.positives("long_factor", count: dimension / 2), original: original,
        attention: try section.optionalNumber("attention_factor") ?? attention)
    default:
      throw ModelError(
        "\(section.file): rope type \"\(type)\" is not supported; supported are default, linear, dynamic, llama3, "
          + "yarn, longrope")
    }
  }

  /// Sequences of up to so many tokens turn by the same frequencies whatever their length.
  var uniformLength: Int {
    switch scaling {
    case .dynamic: maxPositions
    case .longrope(_, _, let original, _): Int(original)
    default: .max
    }
  }

  /// Inverse frequencies (`dimension / 2` of them) and the factor on cosines and sines, for a sequence of
  /// `length` tokens. In float32 step by step, as `transformers` does.
  func frequencies(length: Int) -> (inverse: [Float], scale: Float) {
    let exponents = stride(from: 0, to: dimension, by: 2).map { Float($0) / Float(dimension) }
    func inverse(_ base: Float) -> [Float] { exponents.map { 1 / powf(base, $0) } }
    let plain = inverse(Float(theta))
    switch scaling {
    case .none: return (plain, 1)
    case .linear(let factor): return (plain.map { $0 / Float(factor) }, 1)
    case .dynamic(let factor):
      guard length > maxPositions, dimension > 2 else { return (plain, 1) }
      let stretch = Float(factor) * Float(length) / Float(maxPositions) - Float(factor - 1)
      let power = Double(dimension) / Double(dimension - 2)
      return (inverse(Float(theta) * powf(stretch, Float(power))), 1)
    case .llama3(let factor, let low, let high, let original):
      let values = plain.map { frequency -> Float in
        let wavelength = 2 * Float.pi / frequency
        if wavelength < Float(original / high) { return frequency }
        if wavelength > Float(original / low) { return frequency / Float(factor) }
        let smooth = (Float(original) / wavelength - Float(low)) / Float(high - low)
        return (1 - smooth) * frequency / Float(factor) + smooth * frequency
      }
      return (values, 1)
    case .yarn(let factor, let fast, let slow, let original, let truncate, let attention):
      func correction(_ rotations: Double) -> Double {
        Double(dimension) * log(original / (rotations * 2 * .pi)) / (2 * log(theta))
      }
      var low = correction(fast)
      var high = correction(slow)
      if truncate { (low, high) = (low.rounded(.down), high.rounded(.up)) }
      (low, high) = (max(low, 0), min(high, Double(dimension - 1)))
      if low == high { high += 0.001 }
      let values = exponents.enumerated().map { index, exponent -> Float in
        let base = powf(Float(theta), exponent)
        let ramp = min(max((Float(index) - Float(low)) / Float(high - low), 0), 1)
        let extrapolated = 1 - ramp
        return 1 / (Float(factor) * base) * (1 - extrapolated) + 1 / base * extrapolated
      }
      return (values, Float(attention))
    case .longrope(let short, let long, let original, let attention):
      let divisors = Double(length) > original ? long : short
      let values = zip(exponents, divisors).map { 1 / (Float($1) * powf(Float(theta), $0)) }
      return (values, Float(attention))
    }
  }
}
