public import JSON

/// DeepSeek-V3.2 (2025; `transformers` modeling_deepseek_v32.py) and GLM-5 (modeling_glm_moe_dsa.py): DeepSeek-V3 with attention that
/// looks at the `index_topk` tokens that an indexer picks.
public enum DeepSeekSparse: Family {
  public static let modelTypes = ["deepseek_v32", "glm_moe_dsa"]

  public static func sample(modelType: String) -> JSON.Object { LatentSample.config(modelType) }

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let isGLM = try config.string("model_type") == "glm_moe_dsa"
    let latent =
      isGLM
      ? DeepSeekDecoder.Latent(rank: 2048, plain: 192, turning: 64, value: 256, latent: 512) : DeepSeekDecoder.Latent()
    for key in ["num_experts", "num_local_experts"] where config.has(key) {
      // Other names of the same field: which of them holds depends on the version.
      guard config.object[key] == config.object["n_routed_experts"] else {
        throw ModelError("\(config.file): \"\(key)\" and \"n_routed_experts\" say different things; keep one of them")
      }
    }
    var decoder = try DeepSeekDecoder(
      config, latent: latent, defaultDense: 3, listsDense: true, countsDense: true, topK: 8,
      epsilon: isGLM ? 1e-5 : 1e-6)
    guard decoder.base.sizes[LatentAttention.queryRank] > 0 else {
      throw ModelError(
        "\(config.file): \"q_lora_rank\" is null, but the indexer of this family reads what it is the size of")
    }
    try TokenIndexer.readSizes(config, into: &decoder.base.sizes, defaultHeads: isGLM ? 32 : 64)
    let router = try decoder.sigmoidRouter(
      groups: isGLM ? 1 : 8, chosen: isGLM ? 1 : 4, normalises: true, scale: 2.5)
    let types = try config.optionalStrings("layer_types", count: decoder.base.layers) ?? []
    if let other = types.first(where: { !["indexed_attention", "deepseek_sparse_attention"].contains($0) }) {
      throw ModelError("\(config.file): layer type \"\(other)\" is not supported for this family")
    }
    let sharing = try SharedIndexers(config, layers: decoder.base.layers, isKnown: isGLM)
    let indexer = TokenIndexer(
      decoder.base.prefix + ".self_attn.indexer", picks: try config.size("index_topk", default: 2048),
      interleaved: isGLM)
    let attention = try (0..<decoder.base.layers).map { layer in
      try decoder.latentAttention(
        interleaved: true, maxPositions: isGLM ? 202_752 : 163_840, picking: sharing.picking(indexer, layer: layer))
    }
    var model = try decoder.describe(router: router, attention: { attention[$0] }, edit: sharing.edit)
    sharing.connect(&model)
    return model
  }
}
