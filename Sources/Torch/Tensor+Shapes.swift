import CTorch

// Operations that move elements or look at them differently. Those that can share memory with their source
// do: such a view is as cheap as its description, and keeps the source's memory alive.
extension Tensor {
  /// The same elements in row order under another shape: a view where the layout allows, else a copy. One
  /// size may be −1: whatever is left.
  public func reshape(_ shape: [Int]) throws -> Tensor {
    try Self.make(self) { api, out in withDims(shape) { api.pointee.reshape(handle, $0, $1, &out) } }
  }

  /// The same as `reshape`, but always a view.
  ///
  /// - Throws: `TorchError` when the layout would need a copy.
  public func view(_ shape: [Int]) throws -> Tensor {
    try Self.make(self) { api, out in withDims(shape) { api.pointee.view(handle, $0, $1, &out) } }
  }

  /// Dimensions `first` through `last` made into one.
  public func flatten(from first: Int = 0, to last: Int = -1) throws -> Tensor {
    guard dim > 0 else { return try reshape([1]) }
    let first = try resolved(first)
    let last = try resolved(last)
    guard first <= last else { throw TorchError("dimension \(first) comes after \(last)", operation: "flatten") }
    let shape = self.shape
    let merged = shape[first...last].reduce(1, &*)
    return try reshape(shape[..<first] + [merged] + shape[(last + 1)...])
  }

  /// A view with two dimensions exchanged.
  public func transpose(_ first: Int, _ second: Int) throws -> Tensor {
    try Self.make(self) { $0.pointee.transpose(handle, Int64(first), Int64(second), &$1) }
  }

  /// A view with the dimensions in another order.
  public func permute(_ order: [Int]) throws -> Tensor {
    try Self.make(self) { api, out in withDims(order) { api.pointee.permute(handle, $0, $1, &out) } }
  }

  /// A view with a dimension of size 1 put in at `dim`.
  public func unsqueeze(_ dim: Int) throws -> Tensor {
    try Self.make(self) { $0.pointee.unsqueeze(handle, Int64(dim), &$1) }
  }

  /// A view without dimension `dim` where its size is 1; else as it is.
  public func squeeze(_ dim: Int) throws -> Tensor {
    try Self.make(self) { $0.pointee.squeeze(handle, Int64(dim), &$1) }
  }

  /// A view in which dimensions of size 1 are repeated without memory; −1 leaves a size as it is.
  public func expand(_ shape: [Int]) throws -> Tensor {
    // A repeated element costs nothing, so sizes that no memory could hold would go through.
    let own = Array(repeating: 1, count: max(0, shape.count - dim)) + self.shape
    try Self.checkSize(zip(shape, own).map { $0 == -1 ? $1 : $0 }, .float64)
    return try Self.make(self) { api, out in withDims(shape) { api.pointee.expand(handle, $0, $1, &out) } }
  }

  /// A view of indices `start` ..< `start + length` of a dimension.
  public func narrow(dim: Int, start: Int, length: Int) throws -> Tensor {
    try Self.make(self) { $0.pointee.narrow(handle, Int64(dim), Int64(start), Int64(length), &$1) }
  }

  /// A view of one index of a dimension, which goes away.
  public func select(dim: Int, index: Int) throws -> Tensor {
    try Self.make(self) { $0.pointee.select(handle, Int64(dim), Int64(index), &$1) }
  }

  /// Views of equal parts of a dimension; the last may be smaller, and there may be fewer than `count`.
  public func chunk(_ count: Int, dim: Int) throws -> [Tensor] {
    guard count > 0 else { throw TorchError("the number of parts must be positive, not \(count)", operation: "chunk") }
    let size = try size(dim)
    let part = max(1, size / count + (size % count == 0 ? 0 : 1))
    return try stride(from: 0, to: max(1, size), by: part).map {
      try narrow(dim: dim, start: $0, length: min(part, size - $0))
    }
  }

  /// Views of consecutive parts of a dimension.
  ///
  /// - Throws: `TorchError` unless `sizes` are not negative and add up to the dimension's size.
  public func split(_ sizes: [Int], dim: Int) throws -> [Tensor] {
    let size = try size(dim)
    var start = 0
    let parts = try sizes.map { length in
      guard length >= 0, length <= size - start else {
        throw TorchError("parts \(sizes) do not fit dimension \(dim) of shape \(shape)", operation: "split")
      }
      defer { start += length }
      return try narrow(dim: dim, start: start, length: length)
    }
    guard start == size else {
      throw TorchError("parts \(sizes) do not fill dimension \(dim) of shape \(shape)", operation: "split")
    }
    return parts
  }

  /// The tensors one after the other along an existing dimension.
  public static func cat(_ tensors: [Tensor], dim: Int) throws -> Tensor {
    try join(tensors, "cat") { $0.pointee.cat($1, tensors.count, Int64(dim), &$2) }
  }

  /// The tensors one after the other along a new dimension.
  public static func stack(_ tensors: [Tensor], dim: Int) throws -> Tensor {
    try join(tensors, "stack") { $0.pointee.stack($1, tensors.count, Int64(dim), &$2) }
  }

  private static func join(
    _ tensors: [Tensor], _ operation: StaticString,
    _ call: (UnsafePointer<ct_api>, UnsafePointer<OpaquePointer>, inout OpaquePointer?) -> UnsafeMutablePointer<CChar>?
  ) throws -> Tensor {
    let handles = tensors.map(\.handle)
    defer { withExtendedLifetime(tensors) {} }
    return try handles.withUnsafeBufferPointer { buffer in
      guard let first = buffer.baseAddress, !buffer.isEmpty else {
        throw TorchError("there are no tensors to join", operation: "\(operation)")
      }
      return try make(operation: operation) { call($0, first, &$1) }
    }
  }

  /// Each index of a dimension `count` times in a row: a b → a a b b.
  public func repeatInterleave(_ count: Int, dim: Int) throws -> Tensor {
    try Self.make(self) { $0.pointee.repeat_interleave(handle, Int64(count), Int64(dim), &$1) }
  }

  /// The elements with these dimensions reversed.
  public func flip(_ dims: [Int]) throws -> Tensor {
    try Self.make(self) { api, out in withDims(dims) { api.pointee.flip(handle, $0, $1, &out) } }
  }

  /// Zeros above a diagonal of the last two dimensions; `diagonal` > 0 lies above the main one.
  public func tril(diagonal: Int = 0) throws -> Tensor {
    try Self.make(self) { $0.pointee.tril(handle, Int64(diagonal), &$1) }
  }

  /// Zeros below a diagonal of the last two dimensions.
  public func triu(diagonal: Int = 0) throws -> Tensor {
    try Self.make(self) { $0.pointee.triu(handle, Int64(diagonal), &$1) }
  }
}

// Indexing by tensors of int64.
extension Tensor {
  /// A copy of the given indices of a dimension, in the given order. `indices` is one-dimensional.
  ///
  /// - Throws: `TorchError` when an index is out of range.
  public func indexSelect(dim: Int, _ indices: Tensor) throws -> Tensor {
    try Self.make(self, indices) { $0.pointee.index_select(handle, Int64(dim), indices.handle, &$1) }
  }

  /// For each place in `index`, the element whose position along `dim` it says.
  public func gather(dim: Int, index: Tensor) throws -> Tensor {
    try Self.make(self, index) { $0.pointee.gather(handle, Int64(dim), index.handle, &$1) }
  }

  /// Adds slices of `source` in place, slice i to the one at `index[i]`.
  public func indexAdd(dim: Int, index: Tensor, source: Tensor) throws {
    try Self.run(self, index, source) {
      $0.pointee.index_add_(handle, Int64(dim), index.handle, source.handle)
    }
  }

  /// Overwrites slices in place, the one at `index[i]` with slice i of `source`.
  public func indexCopy(dim: Int, index: Tensor, source: Tensor) throws {
    try Self.run(self, index, source) {
      $0.pointee.index_copy_(handle, Int64(dim), index.handle, source.handle)
    }
  }

  /// A copy in which each element of `source` stands where `index` says along `dim`.
  public func scatter(dim: Int, index: Tensor, source: Tensor) throws -> Tensor {
    try Self.make(self, index, source) {
      $0.pointee.scatter(handle, Int64(dim), index.handle, source.handle, &$1)
    }
  }

  /// A copy to which each element of `source` is added where `index` says along `dim`.
  public func scatterAdd(dim: Int, index: Tensor, source: Tensor) throws -> Tensor {
    try Self.make(self, index, source) {
      $0.pointee.scatter_add(handle, Int64(dim), index.handle, source.handle, &$1)
    }
  }

  /// The positions of elements other than zero: int64 [count, dim].
  public func nonzero() throws -> Tensor {
    try Self.make(self) { $0.pointee.nonzero(handle, &$1) }
  }

  /// How often each of 0, 1, … occurs in a one-dimensional integer tensor: int64, at least `minimumLength` long.
  public func bincount(minimumLength: Int = 0) throws -> Tensor {
    try Self.make(self) { $0.pointee.bincount(handle, Int64(minimumLength), &$1) }
  }

  /// A copy with `value` wherever the bool `mask` (broadcast) is true.
  public func maskedFill(_ mask: Tensor, _ value: Double) throws -> Tensor {
    try Self.make(self, mask) { $0.pointee.masked_fill(handle, mask.handle, value, &$1) }
  }

  /// Elements of `a` where the bool `condition` is true, else of `b`; all three broadcast.
  public static func `where`(_ condition: Tensor, _ a: Tensor, _ b: Tensor) throws -> Tensor {
    try make(condition, a, b) { $0.pointee.where(condition.handle, a.handle, b.handle, &$1) }
  }
}
