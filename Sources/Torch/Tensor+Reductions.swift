import CTorch

// Fewer numbers from more. `dims` left empty means all of them; `keepDim` leaves reduced dimensions with size
// 1; `dtype` is the type to accumulate in and to return.
extension Tensor {
  /// The sum over dimensions.
  public func sum(dims: [Int] = [], keepDim: Bool = false, dtype: DType? = nil) throws -> Tensor {
    try reduce(CT_SUM, dims, keepDim, dtype)
  }

  /// The mean over dimensions, of floating-point elements or into a floating-point `dtype`.
  public func mean(dims: [Int] = [], keepDim: Bool = false, dtype: DType? = nil) throws -> Tensor {
    try reduce(CT_MEAN, dims, keepDim, dtype)
  }

  /// The largest element over dimensions.
  public func amax(dims: [Int] = [], keepDim: Bool = false) throws -> Tensor {
    try reduce(CT_AMAX, dims, keepDim, nil)
  }

  /// The smallest element over dimensions.
  public func amin(dims: [Int] = [], keepDim: Bool = false) throws -> Tensor {
    try reduce(CT_AMIN, dims, keepDim, nil)
  }

  /// log Σ eˣ over dimensions, without overflow.
  public func logSumExp(dims: [Int], keepDim: Bool = false) throws -> Tensor {
    try reduce(CT_LOGSUMEXP, dims, keepDim, nil)
  }

  /// (Σ |x|ᵖ)^(1/p) over dimensions: p = 1 and 2 are the L1 and L2 norms, infinity the largest |x|.
  public func norm(p: Double, dims: [Int] = [], keepDim: Bool = false, dtype: DType? = nil) throws -> Tensor {
    try Self.make(self) { api, out in
      withDims(dims) { api.pointee.norm(handle, p, $0, $1, keepDim, DType.number(dtype), &out) }
    }
  }

  private func reduce(
    _ op: ct_reduction, _ dims: [Int], _ keepDim: Bool, _ dtype: DType?, operation: StaticString = #function
  ) throws -> Tensor {
    try Self.make(self, operation: operation) { api, out in
      withDims(dims) { api.pointee.reduce(op, handle, $0, $1, keepDim, DType.number(dtype), &out) }
    }
  }

  /// The index of the largest element along `dim`, the first of equal ones: int64.
  public func argmax(dim: Int, keepDim: Bool = false) throws -> Tensor {
    try Self.make(self) { $0.pointee.argmax(handle, Int64(dim), keepDim, &$1) }
  }

  /// The `k` largest (or smallest) elements along `dim`, best first, and their int64 indices. Which of equal
  /// elements comes first is open: use `sort` where it matters.
  public func topK(_ k: Int, dim: Int, largest: Bool = true) throws -> (values: Tensor, indices: Tensor) {
    try Self.makePair(self) { $0.pointee.top_k(handle, Int64(k), Int64(dim), largest, &$1, &$2) }
  }

  /// The elements in order along `dim` and their int64 indices; equal elements keep their order.
  public func sort(dim: Int, descending: Bool = false) throws -> (values: Tensor, indices: Tensor) {
    try Self.makePair(self) { $0.pointee.sort(handle, Int64(dim), descending, &$1, &$2) }
  }

  /// Of a symmetric matrix the eigenvalues, ascending, and the eigenvectors, one in each column. Their signs are open.
  ///
  /// - Throws: `TorchError` where the method does not converge, such as for elements that are not finite.
  public func symmetricEigenvectors() throws -> (values: Tensor, vectors: Tensor) {
    let (values, vectors) = try Self.makePair(self) { $0.pointee.eigh(handle, &$1, &$2) }
    return (values, vectors)
  }

  /// Running sums along `dim`.
  public func cumsum(dim: Int, dtype: DType? = nil) throws -> Tensor {
    try Self.make(self) { $0.pointee.cumsum(handle, Int64(dim), DType.number(dtype), &$1) }
  }

  /// eˣ / Σ eˣ along `dim`.
  public func softmax(dim: Int, dtype: DType? = nil) throws -> Tensor {
    try Self.make(self) { $0.pointee.softmax(handle, Int64(dim), DType.number(dtype), &$1) }
  }

  /// The logarithm of `softmax`.
  public func logSoftmax(dim: Int, dtype: DType? = nil) throws -> Tensor {
    try Self.make(self) { $0.pointee.log_softmax(handle, Int64(dim), DType.number(dtype), &$1) }
  }

  /// Whether every element is nonzero; true of none.
  public func all() throws -> Bool { try test { $0.pointee.all(handle, &$1) } }

  /// Whether any element is nonzero.
  public func any() throws -> Bool { try test { $0.pointee.any(handle, &$1) } }

  /// Whether no element is infinite or NaN.
  public func allFinite() throws -> Bool { try test { $0.pointee.all_finite(handle, &$1) } }

  /// Whether shapes and all elements are equal. NaN equals nothing.
  ///
  /// - Throws: `TorchError` when the types differ.
  public func equals(_ other: Tensor) throws -> Bool {
    defer { withExtendedLifetime(other) {} }
    return try test { $0.pointee.equal(handle, other.handle, &$1) }
  }

  private func test(
    operation: StaticString = #function,
    _ call: (UnsafePointer<ct_api>, inout Bool) -> UnsafeMutablePointer<CChar>?
  ) throws -> Bool {
    var answer = false
    try Self.run(self, operation: operation) { call($0, &answer) }
    return answer
  }
}
