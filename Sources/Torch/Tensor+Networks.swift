import CTorch

extension Tensor {
  /// The matrix product over the last two dimensions; those before are broadcast. `other` may be bfloat16 or float16 where
  /// this is float32.
  public func matmul(_ other: Tensor) throws -> Tensor {
    try Self.make(self, other) { $0.pointee.matmul(handle, other.handle, &$1) }
  }

  /// Adds `first` · `second` in place, [M, K] by [K, N]: without memory for the product where all are of one type.
  public func addMatmul(_ first: Tensor, _ second: Tensor) throws {
    try Self.run(self, first, second) { $0.pointee.add_matmul_(handle, first.handle, second.handle) }
  }

  /// `self` · `weight`ᵀ + `bias`: [… , in] by a weight of [out, in] to [… , out].
  ///
  /// A weight of bfloat16 or float16 that meets float32 is widened a slice at a time: no copy of all of it is made.
  public func linear(weight: Tensor, bias: Tensor? = nil) throws -> Tensor {
    try Self.make(self, weight, bias) { $0.pointee.linear(handle, weight.handle, bias?.handle, &$1) }
  }

  /// Cholesky's factor of this, [n, n], symmetric and positive definite, float32 or float64.
  ///
  /// - Returns: nil where it is not positive definite, as far as can be told.
  public func choleskyFactor() throws -> Tensor? {
    let api = try LibTorch.api
    var out: OpaquePointer?
    var info: Int32 = 0
    defer { withExtendedLifetime(self) {} }
    try check(api.pointee.cholesky(handle, &info, &out), "choleskyFactor")
    return out.map { Tensor(owning: $0, api) }
  }

  /// X of A · X = `right`, [n, m], this being the `choleskyFactor` of A.
  public func choleskySolve(_ right: Tensor) throws -> Tensor {
    try Self.make(self, right) { $0.pointee.cholesky_solve(handle, right.handle, &$1) }
  }

  /// Adds Σ a bᵀ over tokens to this, `[M, N]` float64, on the CPU. The same numbers on any number of threads.
  ///
  /// Where both are bfloat16 and the processor multiplies it, nothing is widened: products are exact, and added up in float32 of
  /// 4,096 tokens at a time. Else they are float32.
  ///
  /// - Parameters:
  ///   - a: `[T, M]`.
  ///   - b: `[T, N]`.
  ///   - isSymmetric: of blocks of channels only those on and above the diagonal are added to.
  ///   - rounding: added to the float64 numbers that are to be added, and taken off again; 0 for nothing.
  /// - Throws: `TorchError` where shapes, types or devices do not fit.
  public func addProducts(_ a: Tensor, _ b: Tensor, isSymmetric: Bool = false, rounding: Double = 0) throws {
    try Self.run(a, b, self) { $0.pointee.add_products(a.handle, b.handle, isSymmetric, rounding, handle) }
  }

  /// Copies every number above the diagonal to its place below, of `[N, N]` float64 on the CPU.
  public func mirrorUpper() throws { try Self.run(self) { $0.pointee.mirror_upper(handle) } }

  /// A copy of a weight [out, in] in the order in which matrix products are quickest, for inputs of about `rows` rows;
  /// `self` where there is none. Good for `linear(weight:)` and for nothing else; making it takes about as long as the
  /// product of a thousand rows of bfloat16, or of two hundred of float32.
  ///
  /// - Parameter inputs: their type; nil for the weight's own. For float32 the copy is widened, and for bfloat16 too where
  ///   the processor does not multiply that type.
  public func packedForLinear(rows: Int, inputs: DType? = nil) throws -> Tensor {
    let type = DType.number(inputs ?? dtype)
    let packed = try Self.make(self) { $0.pointee.pack_linear(handle, Int64(rows), type, &$1) }
    return packed.isPacked ? packed : self
  }

  /// Whether `packedForLinear` made this.
  public var isPacked: Bool { (try? LibTorch.api.pointee.is_packed(handle)) ?? false }

  /// Rows of `weight` [V, H] by int64 or int32 `indices` of any shape: [indices…, H].
  ///
  /// - Throws: `TorchError` when an index is outside 0 ..< V.
  public static func embedding(weight: Tensor, indices: Tensor) throws -> Tensor {
    try make(weight, indices) { $0.pointee.embedding(weight.handle, indices.handle, &$1) }
  }

  /// Root-mean-square normalisation over the last dimension (Zhang & Sennrich 2019), as `LlamaRMSNorm` in
  /// transformers computes it: statistics and scaling in float32, rounded to the input's type, then × `weight`.
  public func rmsNorm(weight: Tensor?, eps: Double) throws -> Tensor {
    try Self.make(self, weight) { $0.pointee.rms_norm(handle, weight?.handle, eps, &$1) }
  }

  /// Layer normalisation over the last dimension.
  public func layerNorm(weight: Tensor?, bias: Tensor?, eps: Double) throws -> Tensor {
    try Self.make(self, weight, bias) { $0.pointee.layer_norm(handle, weight?.handle, bias?.handle, eps, &$1) }
  }

  /// softmax(`query` · `key`ᵀ × scale + `mask`) · `value`, each of shape [B, N, S, D].
  ///
  /// - Parameters:
  ///   - mask: bool (true = may attend) or of the query's type (added), broadcast to [B, N, S_query, S_key].
  ///   - isCausal: position i attends to positions 0 … i only; excludes `mask`.
  ///   - scale: 1 / √D where nil.
  ///   - enableGQA: `key` and `value` may have fewer heads, each serving N / N_kv consecutive query heads.
  public static func scaledDotProductAttention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor? = nil, isCausal: Bool = false, scale: Double? = nil,
    enableGQA: Bool = false
  ) throws -> Tensor {
    try make(query, key, value, mask) { api, out in
      withOptional(scale) {
        api.pointee.attention(
          query.handle, key.handle, value.handle, mask?.handle, isCausal, $0, enableGQA, &out)
      }
    }
  }

  /// The cosine of the angle between `self` and `other` along `dim`, with norms of at least `eps`.
  public func cosineSimilarity(_ other: Tensor, dim: Int, eps: Double = 1e-8) throws -> Tensor {
    try Self.make(self, other) {
      $0.pointee.cosine_similarity(handle, other.handle, Int64(dim), eps, &$1)
    }
  }

  /// A one-dimensional convolution of [B, C, S] by `weight` [C_out, C / groups, K]. With `groups` = C each
  /// channel has its own filter (Mamba's depthwise convolution).
  public func conv1d(weight: Tensor, bias: Tensor?, stride: Int = 1, padding: Int = 0, groups: Int = 1) throws -> Tensor
  {
    try Self.make(self, weight, bias) {
      $0.pointee.conv1d(
        handle, weight.handle, bias?.handle, Int64(stride), Int64(padding), Int64(groups), &$1)
    }
  }

  /// The negative log-likelihood of each target: logits [rows, V], int64 targets [rows], result [rows];
  /// rows whose target is `ignoreIndex` give 0.
  public func crossEntropy(targets: Tensor, ignoreIndex: Int = -100) throws -> Tensor {
    try Self.make(self, targets) { $0.pointee.cross_entropy(handle, targets.handle, Int64(ignoreIndex), &$1) }
  }

  /// `count` indices drawn from each row of probabilities, which need not sum to one.
  public func multinomial(_ count: Int, replacement: Bool = false) throws -> Tensor {
    try Self.make(self) { $0.pointee.multinomial(handle, Int64(count), replacement, &$1) }
  }
}

/// Hands an optional number over as the C boundary takes it.
@inline(__always)
func withOptional<R>(_ value: Double?, _ body: (UnsafePointer<Double>?) throws -> R) rethrows -> R {
  guard let value else { return try body(nil) }
  return try withUnsafePointer(to: value, body)
}
