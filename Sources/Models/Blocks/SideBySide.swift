public import Torch

// Shapes: B rows, S tokens, H hidden.

/// Mixers that read the same input and whose outputs are added (Falcon-H1), each with a factor on what it reads and one on what
/// it gives.
public struct SideBySide: Block {
  /// One of the mixers.
  public struct Part: Sendable {
    let block: any Block
    let input: Double, output: Double

    /// - Parameters:
    ///   - block: the mixer. Of all parts together one may keep keys and values, and one the state of a recurrence.
    ///   - input: the factor on what it reads.
    ///   - output: the factor on what it gives.
    public init(_ block: any Block, input: Double = 1, output: Double = 1) {
      (self.block, self.input, self.output) = (block, input, output)
    }
  }

  private let parts: [Part]

  /// - Parameter parts: at least one.
  public init(_ parts: [Part]) { self.parts = parts }

  public var weights: [Weight] { parts.flatMap(\.block.weights) }
  public var taps: [Tap] { parts.flatMap(\.block.taps) }
  public var cachesTokens: Bool { parts.contains { $0.block.cachesTokens } }
  public func cacheElements(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    parts.reduce(0) { $0 + $1.block.cacheElements(rows: rows, tokens: tokens, sizes: sizes) }
  }
  public func cacheBytes(rows: Int, tokens: Int, sizes: Sizes) -> Int {
    parts.reduce(0) { $0 + $1.block.cacheBytes(rows: rows, tokens: tokens, sizes: sizes) }
  }
  public func steppedElements(tokens: Int, sizes: Sizes) -> Int {
    parts.reduce(0) { $0 + $1.block.steppedElements(tokens: tokens, sizes: sizes) }
  }
  public func activeElements(sizes: Sizes) -> Int { parts.reduce(0) { $0 + $1.block.activeElements(sizes: sizes) } }
  public func operations(rows: [Int], sizes: Sizes) -> Double {
    parts.reduce(0) { $0 + $1.block.operations(rows: rows, sizes: sizes) }
  }
  public var jointProjections: [[Linear]] { parts.flatMap(\.block.jointProjections) }

  /// What all parts can do.
  public var mixing: TokenMixing {
    var most: Int?
    for part in parts {
      switch part.block.mixing {
      case .rows: return .rows
      case .sequences(let sharing): most = min(most ?? .max, sharing)
      case .none: break
      }
    }
    return most.map { .sequences(sharing: $0) } ?? .none
  }

  public func forward(_ x: Tensor, weights: LayerWeights, context: ForwardContext) throws -> Tensor {
    var sum: Tensor?
    for part in parts {
      let input = try part.input == 1 ? x : x.multiplied(by: part.input)
      var y = try part.block.forward(input, weights: weights, context: context)
      if part.output != 1 { y = try y.multiplied(by: part.output) }
      sum = try sum.map { try $0.adding(y) } ?? y
    }
    guard let sum else { throw ModelError("mixers side by side: there are none") }
    return sum
  }
}
