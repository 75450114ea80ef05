public import Models
public import Torch

/// Rows of tokens that go through the model together: `[B, S]`, padded on the right; or one packed row of several
/// sequences.
public struct TokenBatch: Sendable {
  public let rows: [[Int32]]
  /// Valid tokens of each row.
  public var lengths: [Int] { rows.map(\.count) }
  /// The longest row's tokens (S).
  public let width: Int
  /// Rows of each micro-batch, in their order: rows that are scored together wherever they go through the model.
  public let microBatches: [Int]
  /// How several sequences share the one row; nil where each row is a sequence.
  public let packing: Packing?

  /// Each token's position in its sequence: S numbers, that hold for every row. Padding stands where the longest row ends.
  var places: [Int] {
    let last = (rows.map(\.count).max() ?? 1) - 1
    return packing?.positions ?? (0..<width).map { min($0, last) }
  }

  /// - Parameters:
  ///   - width: tokens to pad to; never fewer than the longest row has.
  ///   - rows: of token numbers.
  public init(_ rows: [[Int32]], width: Int = 0) {
    self.rows = rows
    self.width = max(rows.map(\.count).max() ?? 0, width)
    microBatches = [rows.count]
    packing = nil
  }

  /// Micro-batches of rows of one length that go through the model together.
  private init(joining first: TokenBatch, _ second: TokenBatch) {
    rows = first.rows + second.rows
    width = first.width
    microBatches = first.microBatches + second.microBatches
    packing = nil
  }

  /// Rows as another process had them.
  init(rows: [[Int32]], width: Int, microBatches: [Int]) {
    self.rows = rows
    self.width = max(rows.map(\.count).max() ?? 0, width)
    self.microBatches = microBatches
    packing = nil
  }

  package init(packed tokens: [Int32], _ packing: Packing) {
    rows = [tokens]
    width = tokens.count
    microBatches = [1]
    self.packing = packing
  }

  /// Consecutive rows in groups of `size`, the last one possibly smaller.
  public static func groups(_ rows: [[Int32]], size: Int) -> [TokenBatch] {
    stride(from: 0, to: rows.count, by: max(size, 1)).map {
      TokenBatch(Array(rows[$0..<min($0 + max(size, 1), rows.count)]))
    }
  }

  /// Puts consecutive batches of full rows of one length together, up to `tokens` tokens: small ones leave the
  /// processor waiting. Each remains a micro-batch. A batch with a shorter row is left by itself.
  public static func packed(_ batches: [TokenBatch], tokens: Int) -> [TokenBatch] {
    var result: [TokenBatch] = []
    for batch in batches {
      let isFull = batch.rows.allSatisfy { $0.count == batch.width }
      if isFull, let last = result.last, last.width == batch.width, last.rows.allSatisfy({ $0.count == last.width }),
        (last.rows.count + batch.rows.count) * batch.width <= tokens
      {
        result[result.count - 1] = TokenBatch(joining: last, batch)
      } else {
        result.append(batch)
      }
    }
    return result
  }

  /// A hash of these batches: of their tokens, rows and micro-batches (FNV-1a).
  static func digest(_ batches: [TokenBatch]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func add(_ value: Int) { hash = (hash ^ UInt64(truncatingIfNeeded: value)) &* 0x0000_0100_0000_01b3 }
    for batch in batches {
      add(batch.width)
      batch.microBatches.forEach(add)
      for row in batch.rows {
        add(row.count)
        for token in row { add(Int(token)) }
      }
    }
    return hash
  }

  public var tokenCount: Int { rows.reduce(0) { $0 + $1.count } }

  /// Tokens with the padding.
  var paddedCount: Int { rows.count * width }

  /// Token numbers, `[B, S]` int64; padding is token 0.
  func tensor() throws -> Tensor {
    var values = [Int64](repeating: 0, count: paddedCount)
    for (index, row) in rows.enumerated() {
      for (position, token) in row.enumerated() { values[index * width + position] = Int64(token) }
    }
    return try Tensor(values, shape: [rows.count, width])
  }
}

extension ModelDescription {
  /// Tokens that go through a layer together: more keep the processor busier, until their activations in the widest
  /// block take more memory than half a layer's weights do (or 16 MiB).
  ///
  /// - Parameters:
  ///   - elementSize: bytes of a number computed with.
  ///   - device: accelerators want more at once, and have a gibibyte for it.
  public func tokensAtOnce(elementSize: Int, device: Device) -> Int {
    var (widest, layerElements) = (0, 0)
    for (number, layer) in layers.enumerated() {
      let sizes = sizes(inLayer: number)
      layerElements = max(layerElements, layer.weights.reduce(0) { $0 + $1.elementCount(sizes) })
      for sublayer in layer.sublayers {
        // What projections give lies there at once, beside the residual stream, its norm and the layer's input.
        let block = sublayer.block
        let whole = block.weights.filter(\.isProjection).reduce(0) { $0 + ($1.axes.first?.size(sizes) ?? 0) }
        // Of every expert that a token goes to there is what comes out of it.
        widest = max(widest, whole + block.expertsPerToken * sizes[.hidden] + 4 * sizes[.hidden])
      }
    }
    let bytes = device == .cpu ? max(layerElements * elementSize / 2, 16 << 20) : 1 << 30
    return min(max(bytes / max(widest * elementSize, 1), 256), device == .cpu ? 4096 : 16_384)
  }
}
