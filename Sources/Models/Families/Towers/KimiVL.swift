public import JSON

/// Kimi K2.5 and K2.6 (Moonshot AI 2026; `transformers` modeling_kimi_k25.py): Kimi K2 after an encoder of images and videos whose
/// patches are merged by a projector.
public enum KimiVL: Family {
  public static let modelTypes = ["kimi_k25"]
  public static let sections = Tower.sections

  public static func sample(modelType: String) -> JSON.Object {
    Families.towerSample(modelType, text: "kimi_k2", vision: ["hidden_size": 1152])
  }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let vision = try config.vision()
    let merged = vision.object["merge_kernel_size"]?.array.map { $0.compactMap(\.int) } ?? [2, 2]
    guard merged.count == 2, merged.allSatisfy({ (1...64).contains($0) }) else {
      throw ModelError(
        "\(vision.file): \"merge_kernel_size\" should be how many patches are merged in height and width, such as [2, 2]"
      )
    }
    // Published sections have another name for the width of the encoder.
    let width = try vision.size(vision.has("vt_hidden_size") ? "vt_hidden_size" : "hidden_size", default: 1152)
    let carried = ["vision_tower.", "mm_projector.pre_norm.", "mm_projector.proj.0."]
    var tower = Tower(prefix: "language_model.model.", carried: carried + carried.map { "model." + $0 })
    tower.otherPrefixes = ["model.language_model."]
    // As `transformers` 5.24 writes what it has read; results have the published names.
    tower.spellings = [
      ("language_model.model.blocks.", "language_model.model.layers."), ("model.mm_projector.", "mm_projector."),
    ]
    tower.heads = ["language_model.lm_head.weight", "lm_head.weight"]
    tower.addOutput("mm_projector.proj.2", width: width * merged[0] * merged[1])
    if vision.has("text_hidden_size") { tower.fields = [["vision_config", "text_hidden_size"]] }
    tower.isTied = true
    return try tower.describe(config, defaults: JSON.Object(type: "deepseek_v3", [:])) { text in
      try config.describe(text, by: [DeepSeekV3.self])
    }
  }
}
