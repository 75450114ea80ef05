import Foundation

/// Hunyuan 0.5B to 7B (Tencent 2025; `transformers` modeling_hunyuan_v1_dense.py): Llama with norms of each head's queries and
/// keys after they have turned, and a base of positions that is stretched for good.
public enum Hunyuan: Family {
  public static let modelTypes = ["hunyuan_v1_dense"]

  public static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let decoder = try DenseDecoder(config, defaultEpsilon: 1e-5)
    let (headDim, epsilon) = (decoder.headDim, decoder.epsilon)
    let rotary = try rotary(config, dimension: headDim)
    let bias = try config.flag("attention_bias", default: false)
    let activation = try Activation(config)
    return try decoder.describe(
      attention: { prefix, _ in
        Attention(
          prefix, headDim: headDim, rotary: rotary, qkvBias: bias, outputBias: bias, normEpsilon: epsilon,
          normNames: ("query_layernorm", "key_layernorm"), normsTurned: true)
      },
      mlp: { GatedMLP($0, activation: activation) })
  }

  /// Positions called "dynamic" with an "alpha" do not depend on the length: alpha stretches the base.
  private static func rotary(_ config: ConfigReader, dimension: Int) throws -> Rotary {
    let read = try Rotary(config, dimension: dimension)
    guard case .dynamic = read.scaling, let alpha = try config.ropeSection()?.optionalNumber("alpha"), alpha != 0 else {
      return read
    }
    guard alpha > 0 else {
      throw ModelError("\(config.file): \"alpha\" of its positions should be a number above zero, found \(alpha)")
    }
    let theta = read.theta * pow(alpha, Double(dimension) / Double(dimension - 2))
    return Rotary(dimension: dimension, theta: theta, scaling: .none, maxPositions: read.maxPositions)
  }
}
