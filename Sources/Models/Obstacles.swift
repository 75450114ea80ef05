import Checkpoint
import JSON

extension Families {
  /// Sections of configs that hold a whole text model.
  private static let textSections = Quantisation.textSections + ["thinker_config"]
  /// Sections of configs that only multimodal models have.
  private static let otherSections = ["vision_config", "audio_config", "visual", "vit_config", "talker_config"]

  /// The description of the model in a directory, by its config alone: there need be no weights.
  ///
  /// - Throws: as `describe(config:file:quantisation:)`; `CheckpointError` when there is no config.
  public static func describe(directory: String) throws -> ModelDescription {
    let (config, file) = try CheckpointReader.readConfig(directory: directory)
    return try describe(config: config, file: file, quantisation: Quantisation(config, directory: directory))
  }

  /// Everything that keeps a checkpoint from being read, in one message: the type of its text model comes first, since
  /// no other advice helps where that is not supported.
  ///
  /// - Throws: `ModelError` with that message.
  static func checkForObstacles(_ config: ConfigReader, quantisation: Quantisation?) throws {
    func isThere(_ key: String, _ config: ConfigReader) -> Bool {
      config.has(key) && config.object[key]?.object?.count != 0
    }
    var text = config
    var parts: [String] = []
    // Those that a family reads are none.
    let own = config.object["model_type"]?.string.flatMap { family(of: $0)?.sections } ?? []
    while let key = textSections.first(where: { isThere($0, text) && !own.contains($0) }),
      let section = try text.section(key)
    {
      parts.append(key)
      text = section
    }
    parts += otherSections.filter { isThere($0, config) && !own.contains($0) }
    // What is bfloat16 on arrival is no obstacle.
    let quantised = quantisation.flatMap { found in
      found.isReadable ? nil : found.place + (found.place.contains(" and ") ? " say" : " says")
    }

    let type = try (text.has("model_type") ? text : config).string("model_type")
    let isSupported = modelTypes.contains(type)
    let supported = "supported are \(modelTypes.joined(separator: ", "))"
    switch (parts.first, isSupported) {
    case (nil, true):
      guard let quantised, let quantisation else { return }
      throw ModelError(
        "\(config.file): \(quantised) that this checkpoint is quantised (\(quantisation.name)); prune the original (bf16, f16 or "
          + "f32) weights, which its model card names as base_model, and quantise the result. Read are FP8, MXFP4, NVFP4 and symmetric "
          + "packed integers"
      )
    case (nil, false):
      throw ModelError(
        "\(config.file): model_type \"\(type)\" is not supported"
          + (quantised.map { " (and \($0) that the weights are quantised)" } ?? "") + "; \(supported)")
    case (let part?, true):
      throw ModelError(
        "\(config.file): \"\(part)\" says that this is a multimodal checkpoint; only text models are supported so far. "
          + "Its text model (\(type)) is one of them: save it as a checkpoint of its own and prune that"
          + (quantised.map { ", in its original (bf16, f16 or f32) weights: \($0) that these are quantised" } ?? ""))
    case (let part?, false):
      throw ModelError(
        "\(config.file): \"\(part)\" says that this is a multimodal checkpoint, and its text model (model_type "
          + "\"\(type)\") is not supported either"
          + (quantised.map { " (and \($0) that the weights are quantised)" } ?? "") + "; \(supported)")
    }
  }
}
