import CTorch

// Several operators in one pass over memory. On the CPU, in float32 and bfloat16, these are kernels of our own,
// chosen by what the machine can do; other devices, types and layouts go through libtorch's operators, with the
// same result within rounding. Shapes: B rows, S tokens, C channels.

/// The kernels in use.
public enum Kernels {
  /// The instruction set: `avx512_bf16`, `avx512`, `avx2`, `generic`, or `off` for libtorch's operators alone.
  public static var name: String {
    get throws { String(cString: try LibTorch.api.pointee.kernels()) }
  }

  /// Chooses an instruction set by its name for the whole process; nil is the best that this machine has. The
  /// environment variable `COPPICE_KERNELS` does the same at the start.
  ///
  /// - Throws: `TorchError` for an unknown name and for instructions that this machine lacks.
  public static func use(_ name: String?) throws {
    try check(try LibTorch.api.pointee.set_kernels(name ?? ""), "Kernels.use")
  }
}

/// Sums of |x| over the valid tokens of each row, taken from a tensor [B, S, C] while it is computed.
public final class ChannelSums {
  /// `[B, C]` float32; every tensor seen adds to it.
  public let sums: Tensor
  /// The valid tokens of each row, up to S: the rest is padding and does not count.
  public let lengths: [Int]

  public init(lengths: [Int], channels: Int, device: Device = .cpu) throws {
    sums = try Tensor.zeros([lengths.count, channels], dtype: .float32, device: device)
    self.lengths = lengths
  }

  /// Adds Σ over rows of (sums / length)² to `total`, `[C]` float64 or float32: what Minitron makes of activations.
  ///
  /// Each row's squares are rounded to float32. In float64 their sum is exact unless they are very far apart, so that it does
  /// not depend on the order of rows.
  public func addMeanSquares(to total: Tensor) throws {
    try Tensor.run(total, sums, operation: "addMeanSquares") { api in
      withTap(self) { tap in tap.map { api.pointee.add_mean_squares($0, total.handle) } ?? nil }
    }
  }

  /// Adds up `x`, `[B, S, C]`.
  public func add(_ x: Tensor) throws {
    try Tensor.run(x, sums, operation: "ChannelSums.add") { api in
      withTap(self) { tap in tap.map { api.pointee.column_sums(x.handle, $0) } ?? nil }
    }
  }
}

/// The nonlinearity of a gated MLP.
public enum GateActivation: Sendable, CaseIterable {
  case silu, gelu, geluTanh, reluSquared, relu

  var code: ct_gate {
    switch self {
    case .silu: CT_GATE_SILU
    case .gelu: CT_GATE_GELU
    case .geluTanh: CT_GATE_GELU_TANH
    case .reluSquared: CT_GATE_RELU_SQUARED
    case .relu: CT_GATE_RELU
    }
  }
}

extension Tensor {
  /// RMS norm in one pass: statistics and scaling in float32, rounded to the input's type, then × `weight`.
  ///
  /// - Parameters:
  ///   - offset: where given, scaled by `weight` + offset in float32 and rounded once (Gemma, OLMo 2).
  ///   - into: receives the result, may be `self`; nil for a new tensor.
  ///   - tap: sees the result, which must be `[B, S, C]` then.
  /// - Throws: `TorchError` where shapes or types do not fit.
  public func fusedRMSNorm(
    weight: Tensor?, eps: Double, offset: Double? = nil, into: Tensor? = nil, tap: ChannelSums? = nil
  ) throws -> Tensor {
    try norm(nil, weight, eps, offset, nil, into, tap)
  }

  /// The residual sum and the norm after it: `sum` receives `self` + `residual`, rounded to their type, and
  /// the result is that sum's RMS norm.
  ///
  /// - Parameters:
  ///   - sum: nil adds in place.
  ///   - into: may be `residual`.
  public func fusedRMSNorm(
    adding residual: Tensor, sum: Tensor? = nil, weight: Tensor?, eps: Double, offset: Double? = nil,
    into: Tensor? = nil, tap: ChannelSums? = nil
  ) throws -> Tensor {
    try norm(residual, weight, eps, offset, sum ?? self, into, tap)
  }

  private func norm(
    _ residual: Tensor?, _ weight: Tensor?, _ eps: Double, _ offset: Double?, _ sum: Tensor?, _ into: Tensor?,
    _ tap: ChannelSums?, operation: StaticString = "fusedRMSNorm"
  ) throws -> Tensor {
    defer { withExtendedLifetime((sum, into, tap)) {} }
    return try Self.make(self, residual, weight, operation: operation) { api, out in
      withOptional(offset) { offset in
        withTap(tap) {
          api.pointee.norm_kernel(
            handle, residual?.handle, weight?.handle, eps, offset, sum?.handle, into?.handle, $0, &out)
        }
      }
    }
  }

  /// act(`self`) × `up`, each rounded to their type as two operators would; act(`self`) alone without `up`. Gate
  /// and up may be halves of one tensor.
  ///
  /// - Parameters:
  ///   - into: receives the result, may be `self` or `up`; nil for a new tensor.
  ///   - tap: sees the result, which must be `[B, S, C]` then.
  public func gated(_ gate: GateActivation, up: Tensor?, into: Tensor? = nil, tap: ChannelSums? = nil) throws -> Tensor
  {
    defer { withExtendedLifetime((into, tap)) {} }
    return try Self.make(self, up) { api, out in
      withTap(tap) { api.pointee.gate_kernel(gate.code, handle, up?.handle, into?.handle, $0, &out) }
    }
  }

  /// The cosine of the angle between each token of `self` and of `other`, `[…, C]` → `[…]` float32, as
  /// `cosineSimilarity` of float32 copies computes it.
  public func tokenCosines(_ other: Tensor, eps: Double = 1e-8) throws -> Tensor {
    try Self.make(self, other) { $0.pointee.token_cosines(handle, other.handle, eps, &$1) }
  }
}

// Heads are left where projections put them: B rows, S tokens, N heads, D channels, strided views included.
extension Tensor {
  /// Rotary positions in the layout of halves (Su et al. 2021, arXiv 2104.09864, as Llama places them): `[B, S, N, D]`,
  /// rounded after each product and sum as separate operators would.
  ///
  /// - Parameters:
  ///   - cosine: `[S, width]`, or `[S, width / 2]` where both halves share it; of the same type. `sine` likewise.
  ///   - width: channels that are rotated, D where nil; the others pass as they are.
  ///   - norm: the weight `[D]` and epsilon of an RMS norm over each head before it turns (Qwen3).
  ///   - into: receives the result, may be `self`; nil for a new tensor.
  public func rotated(
    cosine: Tensor, sine: Tensor, width: Int? = nil, norm: (weight: Tensor, eps: Double)? = nil, into: Tensor? = nil
  ) throws -> Tensor {
    let channels = Int64(width ?? shape.last ?? 0)
    defer { withExtendedLifetime((norm, into)) {} }
    return try Self.make(self, cosine, sine) {
      $0.pointee.rotary_kernel(
        handle, cosine.handle, sine.handle, channels, norm?.weight.handle, norm?.eps ?? 0, into?.handle, &$1)
    }
  }

  /// softmax(`query` · `key`ᵀ × scale) · `value` without the scores ever in memory: query `[B, S, N, D]`, key
  /// `[B, S_kv, N_kv, D]`, value `[B, S_kv, N_kv, D_v]`, result `[B, S, N, D_v]`. Each key-value head serves N / N_kv
  /// consecutive heads.
  ///
  /// - Parameters:
  ///   - sinks: `[N]`, a score for each head that takes part in softmax and gives nothing (gpt-oss).
  ///   - segments: of a packed row, B = 1: which keys each stretch of queries sees; together they hold all queries.
  ///   - isCausal: the last query attends to all keys, each one before it to one key fewer.
  ///   - window: keys that a query sees, its own included; nil for all.
  ///   - scale: 1 / √D where nil.
  ///   - softcap: scores become softcap × tanh(score / softcap) (Gemma 2).
  ///   - into: receives the result; nil for a new tensor.
  /// - Throws: `TorchError` where shapes or types do not fit, and where causal queries outnumber keys.
  public static func fusedAttention(
    query: Tensor, key: Tensor, value: Tensor, sinks: Tensor? = nil, segments: [AttentionSegment]? = nil,
    isCausal: Bool = true, window: Int? = nil, scale: Double? = nil, softcap: Double? = nil, into: Tensor? = nil
  ) throws -> Tensor {
    let scale = scale ?? 1 / Double(max(query.shape.last ?? 1, 1)).squareRoot()
    defer { withExtendedLifetime(into) {} }
    let stretches = segments?.map {
      ct_segment(
        query: Int64($0.query), queries: Int64($0.queries), prefix: Int64($0.prefix),
        prefix_keys: Int64($0.prefixKeys), own: Int64($0.own), keys: Int64($0.keys))
    }
    return try make(query, key, value, sinks) { api, out in
      (stretches ?? []).withUnsafeBufferPointer {
        api.pointee.attention_kernel(
          query.handle, key.handle, value.handle, $0.baseAddress, $0.count, sinks?.handle, isCausal, Int64(window ?? 0),
          scale, softcap ?? 0, into?.handle, &out)
      }
    }
  }
}

/// A stretch of queries of a packed row and the keys it sees: some that several stretches share, then its own. Causal:
/// the last query sees all of them, each one before it one key fewer.
public struct AttentionSegment: Sendable, Equatable {
  /// The first query, and how many follow one another.
  public var query: Int, queries: Int
  /// The first shared key, and how many there are.
  public var prefix: Int, prefixKeys: Int
  /// The first key of its own, and how many there are: at least as many as queries.
  public var own: Int, keys: Int

  public init(query: Int, queries: Int, prefix: Int = 0, prefixKeys: Int = 0, own: Int, keys: Int) {
    (self.query, self.queries) = (query, queries)
    (self.prefix, self.prefixKeys) = (prefix, prefixKeys)
    (self.own, self.keys) = (own, keys)
  }
}

/// Hands a tap over as the C boundary takes it.
private func withTap<R>(_ tap: ChannelSums?, _ body: (UnsafePointer<ct_tap>?) throws -> R) rethrows -> R {
  guard let tap else { return try body(nil) }
  return try withDims(tap.lengths) { lengths, count in
    try withUnsafePointer(to: ct_tap(sums: tap.sums.handle, lengths: lengths, count: count)) { try body($0) }
  }
}
