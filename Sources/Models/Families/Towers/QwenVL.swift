public import JSON

/// Qwen2.5-VL (arXiv 2502.13923; `transformers` modeling_qwen2_5_vl.py): Qwen2 after an encoder whose merger ends in its
/// residual stream. On text its positions in time, height and width are the same, so they are ordinary ones.
public enum Qwen25VL: Family {
  public static let modelTypes = ["qwen2_5_vl"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(
      modelType, text: "qwen2_5_vl_text", vision: ["hidden_size": 1280, "out_hidden_size": 2048])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let vision = try config.vision()
    var tower = Tower(prefix: "model.", carried: ["visual.", "model.visual."])
    // Published files have the language model's fields in the config itself.
    tower.section = config.textSection
    tower.otherPrefixes = ["model.language_model."]
    tower.spellings = [("model.visual.merger.", "visual.merger.")]
    let merge = try vision.size("spatial_merge_size", default: 2)
    try tower.addOutput("visual.merger.mlp.2", width: vision.size("hidden_size", default: 3584) * merge * merge)
    tower.fields = [["vision_config", "out_hidden_size"]]
    var defaults = JSON.Object(
      type: "qwen2_5_vl_text",
      [
        "vocab_size": 152_064, "hidden_size": 8192, "intermediate_size": 29568,
        "num_hidden_layers": 80, "num_attention_heads": 64, "num_key_value_heads": 8, "max_window_layers": 80,
        "rope_theta": 1_000_000,
      ])
    defaults["rms_norm_eps"] = .double(1e-5)
    var model = try tower.describe(config, defaults: defaults, Qwen2.describe)
    // Its config has no head_dim.
    let headDim = model.sizes[.headDim]
    model.shapeRules.append(
      ShapeRule([.hiddenSize, .numAttentionHeads]) { sizes in
        sizes[.hidden] == sizes[.heads] * headDim
          ? nil
          : "in Qwen2.5-VL the size of a head is hidden_size / num_attention_heads: hidden_size has to be num_attention_heads × \(headDim)"
      })
    return model
  }
}

/// Qwen3-VL (arXiv 2511.21631; `transformers` modeling_qwen3_vl.py): Qwen3, with features of the encoder added to the stream after
/// its first layers as well.
public enum Qwen3VL: Family {
  public static let modelTypes = ["qwen3_vl"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "qwen3_vl_text", vision: ["hidden_size": 1152, "out_hidden_size": 2048])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let defaults = JSON.Object(
      type: "qwen3_vl_text",
      [
        "vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 22016,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "head_dim": 128,
        "rope_theta": 500_000,
      ])
    return try Self.tower(config, deepstack: true).describe(config, defaults: defaults) { text in
      try text.refuse("use_sliding_window", "layers of Qwen3-VL see all tokens")
      return try Qwen3.describe(text)
    }
  }

  /// What Qwen3-VL and its relatives have around their language models.
  static func tower(_ config: ConfigReader, deepstack: Bool) throws -> Tower {
    let vision = try config.vision()
    var tower = Tower(prefix: "model.language_model.", carried: ["model.visual.", "visual."])
    tower.otherPrefixes = ["model."]
    tower.spellings = [("visual.", "model.visual.")]
    let merge = try vision.size("spatial_merge_size", default: 2)
    let width = try vision.size("hidden_size", default: 1152) * merge * merge
    tower.addOutput("model.visual.merger.linear_fc2", width: width)
    // Features of these layers of the encoder go to the first layers of the language model.
    let layers = vision.object["deepstack_visual_indexes"]?.array?.count ?? 3
    for number in 0..<(deepstack ? layers : 0) {
      tower.addOutput("model.visual.deepstack_merger_list.\(number).linear_fc2", width: width)
    }
    tower.fields = [["vision_config", "out_hidden_size"]]
    return tower
  }
}

/// Qwen3.5's dense models as they are published, with an encoder of images (`transformers` modeling_qwen3_5.py).
public enum Qwen35VL: Family {
  public static let modelTypes = ["qwen3_5"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "qwen3_5_text", vision: ["hidden_size": 1152, "out_hidden_size": 2048])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let defaults = JSON.Object(
      type: "qwen3_5_text",
      [
        "vocab_size": 248_320, "hidden_size": 4096, "intermediate_size": 12288,
        "num_hidden_layers": 32, "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256,
      ])
    return try Qwen3VL.tower(config, deepstack: false).describe(config, defaults: defaults, Qwen35.describe)
  }
}

/// Qwen3.5's mixtures of experts as they are published (`transformers` modeling_qwen3_5_moe.py).
public enum Qwen35MoEVL: Family {
  public static let modelTypes = ["qwen3_5_moe"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "qwen3_5_moe_text", vision: ["hidden_size": 1152, "out_hidden_size": 2048])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let defaults = JSON.Object(
      type: "qwen3_5_moe_text",
      [
        "vocab_size": 248_320, "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16,
        "num_key_value_heads": 2, "head_dim": 256, "num_experts": 256, "moe_intermediate_size": 512,
      ])
    return try Qwen3VL.tower(config, deepstack: false).describe(config, defaults: defaults, Qwen35MoE.describe)
  }
}

/// The mixtures of experts of Qwen3-VL (`transformers` modeling_qwen3_vl_moe.py): Qwen3's, which are stored transposed.
public enum Qwen3VLMoE: Family {
  public static let modelTypes = ["qwen3_vl_moe"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "qwen3_vl_moe_text", vision: ["hidden_size": 1152, "out_hidden_size": 2048])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let defaults = JSON.Object(
      type: "qwen3_vl_moe_text",
      [
        "vocab_size": 151_936, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 24,
        "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60, "num_experts_per_tok": 4,
        "moe_intermediate_size": 1408, "rope_theta": 500_000,
      ])
    var model = try Qwen3VL.tower(config, deepstack: true).describe(config, defaults: defaults) { text in
      try text.refuse("use_sliding_window", "layers of Qwen3-VL see all tokens")
      return try Qwen3MoE.describe(text, layout: .stackedTransposed, normalises: true)
    }
    model.shapeRules.append(
      ShapeRule([.hiddenSize, .moeFFNHiddenSize]) { sizes in
        [1, 2].contains { $0 * sizes[.moeFFN] == sizes[.hidden] }
          ? "`transformers` tells by their shape which way experts' matrices lie, so moe_ffn_hidden_size can be "
            + "neither hidden_size nor half of it" : nil
      })
    return model
  }
}
