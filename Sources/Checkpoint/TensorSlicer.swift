/// Gathers the kept part of a tensor: an index-select on any of its axes at once, in one pass over its bytes.
///
/// Nothing is allocated but a buffer of a mebibyte: long runs of kept bytes go to the sink where they lie, short
/// ones are gathered in the buffer. Without a selection the bytes come out as they are.
public struct TensorSlicer: Sendable {
  /// The shape of what comes out.
  public let shape: [Int]
  /// Bytes of what comes out.
  public let byteCount: Int

  private let sourceByteCount: Int
  /// Per axis down to the last with a selection, the kept indices. Empty when everything is kept.
  private let axes: [[Int]]
  /// Bytes between neighbours on each of those axes.
  private let strides: [Int]
  /// Kept stretches of the last of those axes, in bytes from its start.
  private let runs: [Range<Int>]
  /// Whether what is kept of the last of those axes are scattered machine words, to be gathered one by one.
  private let gathersWords: Bool
  /// The same for elements of two and four bytes, gathered 32 at a time: a bit for each element of whole groups.
  private let groups: KeptGroups?

  /// - Parameters:
  ///   - type: of the source.
  ///   - shape: of the source, outermost axis first.
  ///   - kept: per axis the indices to keep, ascending and each once, or nil for all. Empty keeps everything.
  ///   - name: for messages.
  /// - Throws: `CheckpointError`, mismatch, when the selection does not fit the shape; unsupported, for a selection
  ///   on a type whose elements are no whole bytes.
  public init(type: ElementType, shape: [Int], keeping kept: [[Int]?], name: String = "a tensor") throws {
    func mismatch(_ message: String) -> CheckpointError {
      CheckpointError(.mismatch, "cannot slice \(name) of shape \(shape): \(message)")
    }
    guard kept.isEmpty || kept.count == shape.count else {
      throw mismatch("indices are given for \(kept.count) axes, it has \(shape.count)")
    }
    guard let bytes = type.byteCount(ofShape: shape) else { throw mismatch("that is no number of bytes") }
    sourceByteCount = bytes

    var result = shape
    var last: Int?
    for (axis, indices) in kept.enumerated() {
      guard let indices else { continue }
      var previous = -1
      for index in indices {
        guard index > previous else {
          throw mismatch(
            index < 0
              ? "axis \(axis) keeps index \(index)"
              : "the indices of axis \(axis) are not ascending: \(index) follows \(previous)")
        }
        previous = index
      }
      guard previous < shape[axis] else {
        throw mismatch("axis \(axis) keeps index \(previous) of \(shape[axis])")
      }
      result[axis] = indices.count
      // Ascending, each once, within the size: as many as there are is all of them.
      if indices.count != shape[axis] { last = axis }
    }
    self.shape = result
    guard let last, !result.contains(0) else {
      byteCount = result.contains(0) ? 0 : bytes
      (axes, strides, runs, gathersWords, groups) = ([], [], [], false, nil)
      return
    }
    guard type.bitCount % 8 == 0 else {
      throw CheckpointError(
        .unsupported, "cannot slice \(name): elements of \(type.rawValue) are packed and no whole bytes")
    }
    // Never more than the source has, so it cannot overflow.
    byteCount = result.reduce(type.byteCount, *)
    var strides = [Int](repeating: 0, count: shape.count)
    var stride = type.byteCount
    for axis in shape.indices.reversed() {
      strides[axis] = stride
      stride *= shape[axis]
    }
    self.strides = Array(strides[...last])
    axes = (0...last).map { kept[$0] ?? Array(0..<shape[$0]) }
    let step = strides[last]
    var runs: [Range<Int>] = []
    for index in axes[last] {
      if let run = runs.last, run.upperBound == index * step {
        runs[runs.count - 1] = run.lowerBound..<run.upperBound + step
      } else {
        runs.append(index * step..<(index + 1) * step)
      }
    }
    self.runs = runs
    // Scattered words: one load and one store each is several times faster than a call to copy a few bytes.
    gathersWords = [1, 2, 4, 8].contains(step) && axes[last].count < runs.count * 16
    groups = gathersWords && [2, 4].contains(step) ? KeptGroups(axes[last], of: shape[last]) : nil
  }

  /// - Parameter kept: as in the other initialiser.
  public init(_ entry: TensorEntry, keeping kept: [[Int]?]) throws {
    try self.init(type: entry.type, shape: entry.shape, keeping: kept, name: "\"\(entry.name)\"")
  }

  /// Appends the kept bytes to a sink, in order.
  ///
  /// - Parameters:
  ///   - source: all bytes of the tensor.
  ///   - sink: gets pieces that are valid during the call only.
  ///   - consumed: told now and then up to which byte the source is no longer needed.
  /// - Throws: `CheckpointError` when the source has another size; whatever the sink throws.
  public func append(
    from source: UnsafeRawBufferPointer, to sink: (UnsafeRawBufferPointer) throws -> Void,
    consumed: ((Int) -> Void)? = nil
  ) throws {
    guard source.count == sourceByteCount else {
      throw CheckpointError(
        .mismatch, "a tensor to be sliced has \(source.count) bytes, its shape says \(sourceByteCount)")
    }
    guard byteCount > 0 else { return }
    let piece = 1 << 20
    guard !axes.isEmpty else {
      var at = 0
      while at < source.count {
        let end = at + min(piece, source.count - at)
        try sink(UnsafeRawBufferPointer(rebasing: source[at..<end]))
        at = end
        consumed?(at)
      }
      return
    }
    var gathered = GatherBuffer(capacity: groups == nil ? min(piece, byteCount) : piece)
    defer { gathered.deallocate() }
    var position = [Int](repeating: 0, count: axes.count - 1)
    while true {
      var base = 0
      for (axis, at) in position.enumerated() { base += axes[axis][at] * strides[axis] }
      if let groups {
        try gathered.append(groups, of: strides[axes.count - 1], from: source, at: base, sink)
      } else if gathersWords {
        try gathered.append(words: axes[axes.count - 1], of: strides[axes.count - 1], from: source, at: base, sink)
      } else {
        for run in runs {
          try gathered.append(
            UnsafeRawBufferPointer(rebasing: source[base + run.lowerBound..<base + run.upperBound]), sink)
        }
      }
      consumed?(base)
      // The next position, the last axis fastest.
      var axis = position.count - 1
      while axis >= 0 {
        position[axis] += 1
        if position[axis] < axes[axis].count { break }
        position[axis] = 0
        axis -= 1
      }
      if axis < 0 { break }
    }
    try gathered.flush(sink)
    consumed?(source.count)
  }
}
