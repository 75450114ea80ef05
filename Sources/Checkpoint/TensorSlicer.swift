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
  /// On the last of those axes: the kept indices when an element there is a machine word, to gather one by one.
  private let gathersWords: Bool

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
      (axes, strides, runs, gathersWords) = ([], [], [], false)
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
    gathersWords = [1, 2, 4, 8].contains(step) && axes[last].count < runs.count * 8
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
    var gathered = GatherBuffer(capacity: min(piece, byteCount))
    defer { gathered.deallocate() }
    var position = [Int](repeating: 0, count: axes.count - 1)
    while true {
      var base = 0
      for (axis, at) in position.enumerated() { base += axes[axis][at] * strides[axis] }
      if gathersWords {
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

/// Collects short pieces before they go to a sink.
private struct GatherBuffer {
  private let buffer: UnsafeMutableRawBufferPointer
  private var count = 0

  init(capacity: Int) { buffer = .allocate(byteCount: max(64, capacity), alignment: 64) }

  func deallocate() { buffer.deallocate() }

  mutating func flush(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
    if count > 0 { try sink(UnsafeRawBufferPointer(rebasing: buffer[..<count])) }
    count = 0
  }

  mutating func append(_ piece: UnsafeRawBufferPointer, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
    if piece.count > buffer.count - count { try flush(sink) }
    guard piece.count < buffer.count / 4 else {
      try flush(sink)
      return try sink(piece)
    }
    UnsafeMutableRawBufferPointer(rebasing: buffer[count..<count + piece.count]).copyMemory(from: piece)
    count += piece.count
  }

  mutating func append(
    words indices: [Int], of size: Int, from source: UnsafeRawBufferPointer, at base: Int,
    _ sink: (UnsafeRawBufferPointer) throws -> Void
  ) throws {
    var from = 0
    while from < indices.count {
      if buffer.count - count < size { try flush(sink) }
      let upTo = min(indices.count, from + (buffer.count - count) / size)
      switch size {
      case 1: gather(UInt8.self, indices[from..<upTo], source, base)
      case 2: gather(UInt16.self, indices[from..<upTo], source, base)
      case 4: gather(UInt32.self, indices[from..<upTo], source, base)
      default: gather(UInt64.self, indices[from..<upTo], source, base)
      }
      count += (upTo - from) * size
      from = upTo
    }
  }

  private func gather<Word: FixedWidthInteger & BitwiseCopyable>(
    _: Word.Type, _ indices: ArraySlice<Int>, _ source: UnsafeRawBufferPointer, _ base: Int
  ) {
    let size = MemoryLayout<Word>.size
    var to = count
    for index in indices {
      buffer.storeBytes(
        of: source.loadUnaligned(fromByteOffset: base + index * size, as: Word.self), toByteOffset: to, as: Word.self)
      to += size
    }
  }
}
