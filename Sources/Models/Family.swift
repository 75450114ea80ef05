public import Checkpoint
public import JSON
import Synchronization

/// A model family: how a `config.json` becomes a table of blocks and weights. One small file each in `Families/`.
public protocol Family: Sendable {
  /// The `model_type` values this family reads.
  static var modelTypes: [String] { get }
  /// - Throws: `ModelError` naming the field that is wrong.
  static func describe(_ config: ConfigReader) throws -> ModelDescription
  /// Sections of the config that it reads, where it is of a language model with encoders beside it. None for most.
  static var sections: [String] { get }
  /// Whether it reads `per_layer_config`, in which `transformers` keeps what single layers have otherwise. Few do.
  static var readsLayerConfigs: Bool { get }
  /// The config of a small model of this family, to tell what can be pruned in it. Has a default that suits most.
  static func sample(modelType: String) -> JSON.Object
  /// Such configs of models in which different things can be pruned; that one alone for most.
  static func samples(modelType: String) -> [JSON.Object]
}

/// Every family there is, one line each.
public enum Families {
  private static let added = Mutex<[any Family.Type]>([])

  /// Those of this package, then those that were registered.
  public static var all: [any Family.Type] { builtIn + added.withLock { $0 } }

  /// Adds a family of another package: checkpoints of its model types can be pruned from now on. A model type that this
  /// package has is still read as this package does. May be called from any thread.
  public static func register(_ family: any Family.Type) {
    added.withLock { families in
      if !families.contains(where: { $0 == family }) { families.append(family) }
    }
  }

  /// Those of this package.
  public static let builtIn: [any Family.Type] = [
    Llama.self,
    Mamba2Family.self,
    Mistral.self,
    NemotronH.self,
    Qwen2.self,
    Qwen3.self,
    Qwen35.self,
    Qwen3Next.self,
    Qwen3MoE.self,
    Qwen2MoE.self,
    Mixtral.self,
    OLMoE.self,
    GPTOSS.self,
    DeepSeekV2.self,
    DeepSeekV3.self,
    SmolLM3.self,
    Granite.self,
    OLMo2.self,
    Gemma2.self,
    Gemma3.self,
    Gemma4.self,
    Phi3.self,
    Nemotron.self,
    NemotronNAS.self,
    GPTNeoX.self,
    Starcoder2.self,
    GLM.self,
    OLMo3.self,
    SeedOSS.self,
    Arcee.self,
    Gemma1.self,
    CWM.self,
    EXAONE4.self,
    Ministral3.self,
    Hunyuan.self,
    Ernie45.self,
    Apertus.self,
    Phi.self,
    StableLM.self,
    Cohere2.self,
    GPT2.self,
    Helium.self,
    Nanochat.self,
    Qwen35MoE.self,
    GLM4MoE.self,
    GLM4MoELite.self,
    MiniMaxM2.self,
    Dots1.self,
    Ernie45MoE.self,
    HunyuanMoE.self,
    PhiMoE.self,
    GraniteMoEHybrid.self,
    Bamba.self,
    FalconH1.self,
    Jamba.self,
    LFM2.self,
    LFM2MoE.self,
    Llama4.self,
    DeepSeekSparse.self,
    Qwen25VL.self,
    Qwen3VL.self,
    Qwen35VL.self,
    Qwen35MoEVL.self,
    Qwen3VLMoE.self,
    Gemma3VL.self,
    Gemma4VL.self,
    Mistral3.self,
    LLaVA.self,
    Llama4VL.self,
    KimiVL.self,
  ]

  public static var modelTypes: [String] { all.flatMap { $0.modelTypes } }

  /// The one that reads a `model_type`.
  static func family(of type: String) -> (any Family.Type)? { all.first { $0.modelTypes.contains(type) } }

  /// The description of the model that a config describes.
  ///
  /// - Parameters:
  ///   - quantisation: what the config or a file beside it says about how the weights are quantised.
  ///   - config: the config.
  ///   - file: its path, for messages.
  /// - Throws: `ModelError` for unsupported families, vision-language and quantised checkpoints, wrong fields.
  public static func describe(
    config: JSON.Object, file: String, quantisation: Quantisation? = nil
  ) throws -> ModelDescription {
    let reader = ConfigReader(config, file: file)
    try checkForObstacles(reader, quantisation: quantisation ?? Quantisation(config))
    // Every model of `transformers` obeys these two.
    guard try reader.flag("is_causal", default: true) else {
      throw ModelError(
        "\(file): \"is_causal\" is false: tokens see those after them, which no causal language model does")
    }
    let type = try reader.string("model_type")
    guard let family = family(of: type) else {
      throw ModelError("\(file): model_type \"\(type)\" is not supported")
    }
    guard family.readsLayerConfigs || !reader.has("per_layer_config") else {
      throw ModelError(
        "\(file): \"per_layer_config\" gives layers sizes and settings of their own, which is not supported")
    }
    let description = try family.describe(reader)
    try description.checkSizes(file: file)
    return description
  }
}
