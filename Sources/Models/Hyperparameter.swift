/// What Minitron prunes, by the names of NVIDIA Model-Optimizer's `mcore_minitron` (its `SUPPORTED_HPARAMS`).
public enum Hyperparameter: String, Sendable, Hashable, CaseIterable {
  case numLayers = "num_layers"
  case hiddenSize = "hidden_size"
  case numAttentionHeads = "num_attention_heads"
  case ffnHiddenSize = "ffn_hidden_size"
  case mambaNumHeads = "mamba_num_heads"
  case mambaHeadDim = "mamba_head_dim"
  case numMoEExperts = "num_moe_experts"
  case moeFFNHiddenSize = "moe_ffn_hidden_size"
  case moeSharedExpertIntermediateSize = "moe_shared_expert_intermediate_size"
}
