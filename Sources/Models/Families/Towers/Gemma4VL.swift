public import JSON

/// Gemma 4 as it is published (Google 2026; `transformers` modeling_gemma4.py): with an encoder of images, and in smaller models one of
/// sound. What they give reaches the stream as it is, while embeddings are multiplied by the root of its width.
public enum Gemma4VL: Family {
  public static let modelTypes = ["gemma4"]
  public static let sections = Tower.sections + ["audio_config"]

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "gemma4_text", vision: ["hidden_size": 768])
  }

  public static func samples(modelType: String) -> [JSON.Object] {
    Gemma4.samples(modelType: "gemma4_text").map { text in
      var config = sample(modelType: modelType)
      config["text_config"] = JSON.object(text)
      return config
    }
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    var tower = Tower(
      prefix: "model.language_model.", carried: ["model.vision_tower.", "model.audio_tower."])
    tower.isTied = true
    // Either encoder may be absent.
    for (part, key, fallback) in [("vision", "hidden_size", 768), ("audio", "output_proj_dims", 1536)] {
      guard let section = try config.section(part + "_config") else { continue }
      let width = Dimension(fixed: "\(part)_width")
      tower.outputs.append(
        Weight("model.embed_\(part).embedding_projection.weight", [.hidden, Axis(width)], writes: 0))
      tower.widths.append((width, try section.size(key, default: fallback)))
    }
    let defaults = JSON.Object(
      type: "gemma4_text",
      [
        "vocab_size": 262_144, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 30,
        "num_attention_heads": 8,
      ])
    return try tower.describe(config, defaults: defaults) { try config.describe($0, by: [Gemma4.self]) }
  }
}
