public import JSON

/// LLaVA (Liu et al. 2023, arXiv 2304.08485; `transformers` modeling_llava.py) over a Llama, Qwen2 or Mistral.
public enum LLaVA: Family {
  public static let modelTypes = ["llava"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "llama", vision: ["hidden_size": 1024])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let vision = try config.vision()
    var tower = Tower.llava
    tower.addProjector(
      "multi_modal_projector", width: try vision.size("hidden_size", default: 1024) * config.featureLayers(),
      bias: try config.flag("multimodal_projector_bias", default: true))
    return try tower.describe(config, defaults: config.textDefaults("llama")) { text in
      try config.describe(text, by: [Llama.self, Qwen2.self, Mistral.self])
    }
  }
}

/// Llama 4 (Meta 2025; `transformers` modeling_llama4.py) with its encoder of images, which ends in an adapter of its own width.
public enum Llama4VL: Family {
  public static let modelTypes = ["llama4"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "llama4_text", vision: ["vision_output_dim": 4096])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var tower = Tower(prefix: "language_model.model.", carried: ["vision_model."])
    tower.heads = ["language_model.lm_head.weight"]
    tower.addOutput(
      "multi_modal_projector.linear_1", width: try config.vision().size("vision_output_dim", default: 7680), bias: false
    )
    return try tower.describe(config, defaults: config.textDefaults("llama4_text")) { text in
      try config.describe(text, by: [Llama4.self])
    }
  }
}

/// Mistral Small 3.1 and its successors with an encoder of images (`transformers` modeling_mistral3.py).
public enum Mistral3: Family {
  public static let modelTypes = ["mistral3"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "mistral", vision: ["hidden_size": 1024])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let vision = try config.vision()
    var tower = Tower.llava
    tower.addProjector(
      "multi_modal_projector", width: try vision.size("hidden_size", default: 1024) * config.featureLayers(),
      bias: try config.flag("multimodal_projector_bias", default: false))
    // The projector begins with a norm and a merger of patches, which have the encoder's width.
    tower.carried += ["multi_modal_projector.norm.", "multi_modal_projector.patch_merger."].flatMap {
      [$0, "model." + $0]
    }
    tower.isTied = true
    return try tower.describe(config, defaults: config.textDefaults("mistral")) { text in
      try config.describe(text, by: [Mistral.self, Ministral3.self, Llama.self, Qwen2.self])
    }
  }
}

/// Gemma 3 from 4B on (arXiv 2503.19786; `transformers` modeling_gemma3.py): images reach the stream as they are, while embeddings are
/// multiplied by the root of its width.
public enum Gemma3VL: Family {
  public static let modelTypes = ["gemma3"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "gemma3_text", vision: ["hidden_size": 1152])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let vision = try config.vision()
    var tower = Tower.llava
    tower.outputs = [
      Weight("multi_modal_projector.mm_input_projection_weight", [Axis(Tower.width), .hidden], writes: 1)
    ]
    tower.widths = [(Tower.width, try vision.size("hidden_size", default: 768))]
    tower.carried += ["multi_modal_projector.mm_soft_emb_norm.", "model.multi_modal_projector.mm_soft_emb_norm."]
    tower.isTied = true
    return try tower.describe(config, defaults: config.textDefaults("gemma3_text"), Gemma3.describe)
  }
}

extension Tower {
  /// The names of LLaVA and of those that came after it.
  static var llava: Tower {
    var tower = Tower(
      prefix: "language_model.model.",
      carried: ["vision_tower.", "model.vision_tower."])
    tower.otherPrefixes = ["model.language_model."]
    tower.heads = ["language_model.lm_head.weight", "lm_head.weight"]
    tower.spellings = [("model.multi_modal_projector.", "multi_modal_projector.")]
    return tower
  }
}

extension ConfigReader {
  /// Sizes of `transformers`' config classes, which published sections leave out.
  ///
  /// - Parameter type: of a language model's section that does not say.
  fileprivate func textDefaults(_ type: String) throws -> JSON.Object {
    switch try section("text_config")?.string("model_type", default: type) ?? type {
    case "llama":
      JSON.Object(
        type: type,
        [
          "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
          "num_attention_heads": 32,
        ])
    case "mistral":
      JSON.Object(
        type: type,
        [
          "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
          "num_attention_heads": 32, "num_key_value_heads": 8,
        ])
    case "qwen2":
      JSON.Object(
        type: type,
        [
          "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22016, "num_hidden_layers": 32,
          "num_attention_heads": 32, "num_key_value_heads": 32,
        ])
    case "gemma3_text":
      JSON.Object(
        type: type,
        [
          "vocab_size": 262_208, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
          "num_attention_heads": 8,
        ])
    default: JSON.Object(type: type, [:])
    }
  }
}
