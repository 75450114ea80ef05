public import Torch

// Shapes: B rows, S tokens, H hidden, N heads, K key-value heads, D head_dim.

/// Grouped-query attention with rotary positions (Ainslie et al. 2023, arXiv 2305.13245), optional biases,
/// per-head norms of queries and keys (Qwen3) and a sliding window (Mistral). Tap: `heads`.
public struct Attention: Block {
  let query: Weight, key: Weight, value: Weight, output: Weight
  let queryBias: Weight?, keyBias: Weight?, valueBias: Weight?, outputBias: Weight?
  let queryNorm: Norm?, keyNorm: Norm?
  let headDim: Int
  /// nil for layers without positions.
  let rotary: Rotary?
  /// Positions a token sees, itself included; nil for all before it.
  let window: Int?

  public init(
    _ prefix: String, headDim: Int, rotary: Rotary?, qkvBias: Bool = false, outputBias: Bool = false,
    normEpsilon: Double? = nil,
    window: Int? = nil
  ) {
    query = Weight(prefix + ".q_proj.weight", [.heads * .headDim, .hidden])
    key = Weight(prefix + ".k_proj.weight", [.kvHeads * .headDim, .hidden])
    value = Weight(prefix + ".v_proj.weight", [.kvHeads * .headDim, .hidden])
    output = Weight(prefix + ".o_proj.weight", [.hidden, .heads * .headDim])
    queryBias = qkvBias ? Weight(prefix + ".q_proj.bias", [.heads * .headDim]) : nil
    keyBias = qkvBias ? Weight(prefix + ".k_proj.bias", [.kvHeads * .headDim]) : nil
    valueBias = qkvBias ? Weight(prefix + ".v_proj.bias", [.kvHeads * .headDim]) : nil
    self.outputBias = outputBias ? Weight(prefix + ".o_proj.bias", [.hidden]) : nil
    queryNorm = normEpsilon.map { Norm(prefix + ".q_norm", over: .headDim, epsilon: $0) }
    keyNorm = normEpsilon.map { Norm(prefix + ".k_norm", over: .headDim, epsilon: $0) }
    self.headDim = headDim
    self.rotary = rotary
    self.window = window
  }

  public var weights: [Weight] {
    [query, queryBias, key, keyBias, value, valueBias, output, outputBias].compactMap { $0 }
      + (queryNorm?.weights ?? []) + (keyNorm?.weights ?? [])
  }

  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    2 * rows * tokens * sizes[.kvHeads] * sizes[.headDim]
  }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    let (rows, tokens) = (x.shape[0], x.shape[1])
    func project(_ weight: Weight, _ bias: Weight?, _ norm: Norm?) throws -> Tensor {
      var y = try x.linear(weight: weights[weight], bias: weights[optional: bias]).reshape([rows, tokens, -1, headDim])
      if let norm { y = try norm.forward(y, weights: weights) }
      return try y.transpose(1, 2)  // [B, N or K, S, D]
    }
    func place(_ y: Tensor) throws -> Tensor { try rotary.map { try context.positions.rotate(y, $0) } ?? y }
    let q = try place(project(query, queryBias, queryNorm))
    var k = try place(project(key, keyBias, keyNorm))
    var v = try project(value, valueBias, nil)
    if let cache = context.cache { (k, v) = try cache.append(key: k, value: v, layer: context.layer) }

    let mask = try context.positions.mask(queries: tokens, keys: k.shape[2], window: window)
    let attended = try Tensor.scaledDotProductAttention(
      query: q, key: k, value: v, mask: mask, isCausal: mask == nil && tokens > 1,
      scale: 1 / Double(headDim).squareRoot(), enableGQA: q.shape[1] != k.shape[1])
    let joined = try attended.transpose(1, 2).reshape([rows, tokens, -1])
    try context.observe(.heads, joined)
    return try joined.linear(weight: weights[output], bias: weights[optional: outputBias])
  }
}

/// Keys and values of the tokens seen so far, by layer: `[B, K, S, D]`.
public final class KeyValueCache {
  private var entries: [Int: (key: Tensor, value: Tensor)] = [:]
  /// Of Mamba layers: the convolution's last inputs `[B, conv_kernel − 1, C]` and the scan's state `[B, G, K, R × P]`.
  var scans: [Int: (convolution: Tensor, state: Tensor)] = [:]
  public init() {}

  func append(key: Tensor, value: Tensor, layer: Int) throws -> (Tensor, Tensor) {
    var entry = (key: key, value: value)
    if let before = entries[layer] {
      entry.key = try Tensor.cat([before.key, key], dim: 2)
      entry.value = try Tensor.cat([before.value, value], dim: 2)
    }
    entries[layer] = entry
    return (entry.key, entry.value)
  }
}
