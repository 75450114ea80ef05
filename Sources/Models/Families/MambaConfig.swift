import JSON

/// What configs of models with Mamba-2 layers have in common.
enum MambaConfig {
  /// A pair of bounds such as `time_step_limit`: `[0.0, Infinity]` as Python's json writes it, `{"__float__": "Infinity"}`
  /// for the infinity as `transformers` 5 does.
  static func range(_ config: ConfigReader, _ key: String) throws -> ClosedRange<Double> {
    guard config.has(key), let value = config.object[key] else { return 0 ... .infinity }
    let bounds = value.array?.map { $0.double ?? $0["__float__"]?.string.flatMap(Double.init) ?? .nan } ?? []
    guard bounds.count == 2, bounds[0] >= 0, bounds[0] <= bounds[1] else {
      throw ModelError(
        "\(config.file): \"\(key)\" should be a list of two numbers, 0 or more and ascending, found "
          + "\(value.serialized().prefix(60))")
    }
    return bounds[0]...bounds[1]
  }

  /// Groups of heads; they must come out even.
  static func groups(
    _ config: ConfigReader, heads: Int, headsKey: String, key: String = "n_groups", default fallback: Int = 8
  ) throws -> Int {
    let groups = try config.size(key, default: fallback)
    guard heads % groups == 0 else {
      throw ModelError("\(config.file): \(headsKey) (\(heads)) should be a multiple of \(key) (\(groups))")
    }
    return groups
  }

  /// Sizes of the recurrent state, within bounds that keep what a cache of them takes countable.
  static func state(_ config: ConfigReader, _ key: String, default fallback: Int = 128) throws -> Int {
    try config.size(key, default: fallback, atMost: 1 << 16)
  }

  /// Bytes of an element of the recurrent state where the model is served; the model's own 16 bits where the config does not say.
  static func stateBytes(_ config: ConfigReader, default type: String = "auto") throws -> Int {
    try config.string("mamba_ssm_cache_dtype", default: type) == "float32" ? 4 : 2
  }

  static func kernel(
    _ config: ConfigReader, _ key: String = "conv_kernel", default fallback: Int = 4
  ) throws -> Int {
    try config.size(key, default: fallback, atMost: 1 << 10)
  }
}
