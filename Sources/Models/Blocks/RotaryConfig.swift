import Foundation
public import JSON

// How `transformers` finds positions in a config: `RotaryEmbeddingConfigMixin` in its `modeling_rope_utils.py`, and what
// families put in its place.

/// Where a family's config class looks for positions, and its defaults.
public struct RotaryFields: Sendable {
  public var theta = 10_000.0
  public var thetaKey = "rope_theta"
  /// The part of head_dim that is rotated when the config does not say; nil for families that rotate all of it.
  public var partial: Double?
  public var partialKey = "partial_rotary_factor"
  /// `max_position_embeddings` when the config does not say.
  public var maxPositions = 2048
  /// `original_max_position_embeddings` when the config does not say at its top level, whatever the section has (Phi-3).
  public var original: Int?
  /// Which channels turn by one another.
  public var pairs: Rotary.Pairs
  /// What stands in the section's place where a config has none, its theta too.
  public var section: JSON.Object?

  public init(
    theta: Double = 10_000, thetaKey: String = "rope_theta", partial: Double? = nil,
    partialKey: String = "partial_rotary_factor", maxPositions: Int = 2048, original: Int? = nil,
    pairs: Rotary.Pairs = .halves, section: JSON.Object? = nil
  ) {
    self.pairs = pairs
    self.section = section
    self.theta = theta
    self.thetaKey = thetaKey
    self.partial = partial
    self.partialKey = partialKey
    self.maxPositions = maxPositions
    self.original = original
  }
}

extension ConfigReader {
  private static let layerKinds = ["full_attention", "sliding_attention", "linear_attention", "chunked_attention"]

  /// `rope_scaling` where it says anything, else `rope_parameters`: the one replaces the other as a whole.
  ///
  /// - Parameter fallback: where there is neither, not even an empty one of the latter.
  /// - Throws: `ModelError` when it has sections for kinds of layers.
  func ropeSection(or fallback: JSON.Object? = nil) throws -> ConfigReader? {
    for key in ["rope_scaling", "rope_parameters"] {
      guard let section = try section(key), section.object.count > 0 else { continue }
      if let kind = Self.layerKinds.first(where: { section.object[$0] != nil }) {
        throw ModelError(
          "\(section.file) has a section \"\(kind)\", but all layers of this family have the same positions")
      }
      return section
    }
    guard let fallback, object["rope_parameters"]?.isNull ?? true else { return nil }
    return ConfigReader(fallback, file: "\(file), positions where it has none")
  }

  /// The section of one kind of layers in a family that has one for each (Gemma 3).
  ///
  /// - Parameter scaled: whether `rope_scaling` is laid over it.
  func ropeSection(kind: String, scaled: Bool) throws -> ConfigReader {
    let parameters = try section("rope_parameters")
    if let parameters, parameters.object.count > 0 {
      for (key, value) in parameters.object where value.object == nil && !value.isNull {
        throw ModelError(
          "\(parameters.file), \"\(key)\": this family has sections \"full_attention\" and \"sliding_attention\" there, "
            + "and ignores what stands beside them")
      }
    }
    var object = try parameters?.section(kind)?.object ?? JSON.Object()
    if parameters == nil { object["rope_type"] = .text("default") }
    if scaled, let scaling = try section("rope_scaling") {
      for (key, value) in scaling.object { object[key] = value }
    }
    // `transformers` looks for it beside the sections, where this family has nothing.
    object["truncate"] = nil
    return ConfigReader(object, file: "\(file), positions of \"\(kind)\"")
  }
}

extension Rotary {
  /// Positions of all layers alike: `rope_theta` and `rope_scaling`, or `rope_parameters`.
  ///
  /// - Parameters:
  ///   - dimension: head_dim.
  ///   - fields: where its family keeps positions.
  ///   - config: the config.
  /// - Throws: `ModelError` for an unknown type or a field that is missing or out of range.
  public init(_ config: ConfigReader, dimension: Int, _ fields: RotaryFields = RotaryFields()) throws {
    try self.init(
      config, section: config.ropeSection(or: fields.section), dimension: dimension,
      theta: config.positive(fields.thetaKey, default: fields.theta),
      // A default of the class goes where the key is absent; where it is null the whole head turns.
      partial: fields.partial.map {
        try config.positive(fields.partialKey, default: config.unlessNull(fields.partialKey, $0) ?? 1)
      },
      original: config.optionalSize("original_max_position_embeddings") ?? fields.original,
      maxPositions: fields.maxPositions)
    pairs = fields.pairs
  }

  /// Positions by one section.
  ///
  /// - Parameters:
  ///   - section: as `rope_parameters`; nil for unscaled positions.
  ///   - theta, partial: where the section does not say.
  ///   - original: overrides the section's `original_max_position_embeddings`.
  ///   - maxPositions: `max_position_embeddings` when the config does not say.
  init(
    _ config: ConfigReader, section: ConfigReader?, dimension: Int, theta: Double, partial: Double?, original: Int?,
    maxPositions: Int
  ) throws {
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
    let maxPositions = try config.size("max_position_embeddings", default: maxPositions)
    let scaling =
      try section.map {
        try ScalingReader(section: $0, maxPositions: maxPositions, dimension: turning, original: original).read()
      } ?? .none
    if partial == nil, scaling != .none, try config.optionalNumber("partial_rotary_factor") ?? 1 != 1 {
      throw ModelError(
        "\(config.file): \"partial_rotary_factor\" beside scaled positions is not supported for this family, which "
          + "rotates all of head_dim")
    }
    self.init(
      dimension: turning, theta: try section?.positive("rope_theta", default: theta) ?? theta, scaling: scaling,
      maxPositions: maxPositions)
  }
}

/// Reads the scaling out of one section.
private struct ScalingReader {
  let section: ConfigReader
  let maxPositions: Int
  /// Channels that are rotated.
  let dimension: Int
  let original: Int?

  func read() throws -> Rotary.Scaling {
    let type = try section.string("rope_type", default: section.string("type", default: "default"))
    switch type {
    case "default": return .none
    case "linear": return .linear(factor: try section.positive("factor"))
    case "dynamic":
      guard dimension > 2 else {
        throw ModelError("\(section.file): dynamic positions want more than 2 rotated channels, found \(dimension)")
      }
      return .dynamic(factor: try section.positive("factor"))
    case "llama3":
      return .llama3(
        factor: try section.positive("factor"), lowFrequency: try section.positive("low_freq_factor"),
        highFrequency: try section.positive("high_freq_factor"), original: try originalLength())
    case "yarn": return try yarn()
    case "longrope", "su": return try longrope()
    default:
      throw ModelError(
        "\(section.file): rope type \"\(type)\" is not supported; supported are default, linear, dynamic, llama3, "
          + "yarn, longrope")
    }
  }

  private func originalLength() throws -> Double {
    Double(try original ?? section.size("original_max_position_embeddings", default: maxPositions))
  }

  private func yarn() throws -> Rotary.Scaling {
    let original = try originalLength()
    let factor = try section.positive("factor", default: Double(maxPositions) / original)
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
      factor: factor, fast: try orDefault("beta_fast", 32), slow: try orDefault("beta_slow", 1), original: original,
      // An explicit null is as good as false.
      truncate: try section.object["truncate"]?.isNull == true ? false : section.flag("truncate", default: true),
      attention: try section.optionalNumber("attention_factor") ?? attention)
  }

  private func longrope() throws -> Rotary.Scaling {
    let original = try originalLength()
    let factor = try section.positive("factor", default: Double(maxPositions) / original)
    let attention = factor <= 1 ? 1 : (1 + log(factor) / log(original)).squareRoot()
    return .longrope(
      short: try section.positives("short_factor", count: dimension / 2),
      long: try section.positives("long_factor", count: dimension / 2), original: original,
      attention: try section.optionalNumber("attention_factor") ?? attention)
  }
}
