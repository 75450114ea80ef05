import Foundation

/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) with the scalings of `transformers`'
/// `modeling_rope_utils.py`. `RotaryConfig.swift` reads it from a config.
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
    /// So many of the pairs of channels turn, by the frequencies that they have among all (Gemma 4); the others do not.
    case proportional(pairs: Int, factor: Double)
  }

  /// Which two channels turn by one another.
  public enum Pairs: Sendable, Hashable {
    /// The first of one half and the first of the other, and so on (Llama).
    case halves
    /// Neighbours (GLM, Cohere).
    case neighbours
    /// As `halves`, in the other direction (nanochat).
    case halvesBackwards
  }

  public let dimension: Int
  public let theta: Double
  public let scaling: Scaling
  public let maxPositions: Int
  public var pairs = Pairs.halves
  /// The factor on cosines and sines in the place of the scaling's own; nil for that.
  public var magnitudes: Magnitudes?

  /// A factor for sequences of up to `original` tokens, and one for longer ones (Phi-3.5-MoE).
  public struct Magnitudes: Sendable, Hashable {
    let (short, long): (Double, Double)
    let original: Int

    /// - Parameters:
    ///   - short: for sequences of up to `original` tokens.
    ///   - long: for longer ones.
    ///   - original: tokens.
    public init(short: Double, long: Double, original: Int) {
      (self.short, self.long, self.original) = (short, long, original)
    }
  }

  init(dimension: Int, theta: Double, scaling: Scaling, maxPositions: Int) {
    self.dimension = dimension
    self.theta = theta
    self.scaling = scaling
    self.maxPositions = maxPositions
  }

  /// Sequences of up to so many tokens are rotated by the same frequencies, whatever their length.
  var uniformLength: Int {
    if let magnitudes { return magnitudes.original }
    return switch scaling {
    case .dynamic: maxPositions
    case .longrope(_, _, let original, _): Int(original)
    default: .max
    }
  }

  /// A length that stands for all those whose sequences are rotated by the same frequencies as one of `length` tokens.
  func governingLength(_ length: Int) -> Int {
    if magnitudes != nil { return length > uniformLength ? .max : 0 }
    return switch scaling {
    case .dynamic: max(length, maxPositions)
    case .longrope: length > uniformLength ? .max : 0
    default: 0
    }
  }

  /// Inverse frequencies (`dimension / 2` of them) and the factor on cosines and sines, for a sequence of
  /// `length` tokens. In float32 step by step, as `transformers` does.
  func frequencies(length: Int) -> (inverse: [Float], scale: Float) {
    guard let magnitudes else { return scaledFrequencies(length: length) }
    // Only the factor knows of the length.
    let scale = length > magnitudes.original ? magnitudes.long : magnitudes.short
    return (scaledFrequencies(length: 0).inverse, Float(scale))
  }

  private func scaledFrequencies(length: Int) -> (inverse: [Float], scale: Float) {
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
    case .proportional(let pairs, let factor):
      return (plain.enumerated().map { $0 < pairs ? $1 / Float(factor) : 0 }, 1)
    case .longrope(let short, let long, let original, let attention):
      let divisors = Double(length) > original ? long : short
      let values = zip(exponents, divisors).map { 1 / (Float($1) * powf(Float(theta), $0)) }
      return (values, Float(attention))
    }
  }
}

/// A factor on queries that grows with the logarithm of their position, in steps of the length that a model was first
/// trained on (Llama 4, Ministral 3): 1 + beta × log(1 + ⌊(position + first) / length⌋).
public struct PositionGrowth: Sendable, Hashable {
  public let beta: Double
  public let length: Int
  /// The number of the first position.
  public let first: Int

  /// - Parameters:
  ///   - beta: how strongly queries grow.
  ///   - length: positions of a step.
  ///   - first: the number of the first position.
  public init(beta: Double, length: Int, first: Int = 0) {
    (self.beta, self.length, self.first) = (beta, length, first)
  }

  func factor(_ position: Int) -> Float { 1 + Float(beta) * logf(1 + Float((position + first) / max(length, 1))) }
}
