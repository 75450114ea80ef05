package import Torch

/// Which tokens of each batch are held back: those of every eighth row, and of the last where there are fewer.
package struct RowDivision {
  static let share = 8

  package struct Batch {
    /// Numbers among the batch's valid tokens; nil for none.
    package let heldBack: Tensor?
    /// The others; nil for none where some are held back, and for all where none are.
    package let solved: Tensor?
    private let heldNumbers: Set<Int>

    fileprivate init(heldBack: [Int64], solved: [Int64]) throws {
      heldNumbers = Set(heldBack.map(Int.init))
      self.heldBack = heldBack.isEmpty ? nil : try Tensor(heldBack, shape: [heldBack.count])
      self.solved = heldBack.isEmpty || solved.isEmpty ? nil : try Tensor(solved, shape: [solved.count])
    }

    /// The rows of two activations of some tokens, in two parts.
    ///
    /// - Parameter tokens: their numbers among the batch's valid tokens.
    func divide(
      _ x: Tensor, _ t: Tensor, of tokens: [Int], _ part: (_ x: Tensor, _ t: Tensor, _ isHeldBack: Bool) throws -> Void
    ) throws {
      for isHeldBack in [true, false] {
        let rows = tokens.indices.filter { heldNumbers.contains(tokens[$0]) == isHeldBack }
        if rows.isEmpty { continue }
        let own = try rows.count == tokens.count ? x : x.picked(rows)
        try part(own, t === x ? own : rows.count == tokens.count ? t : t.picked(rows), isHeldBack)
      }
    }

    /// The rows of two activations, in two parts.
    func divide(_ x: Tensor, _ t: Tensor, _ part: (_ x: Tensor, _ t: Tensor, _ isHeldBack: Bool) throws -> Void) throws
    {
      guard let heldBack else { return try part(x, t, false) }
      func rows(_ numbers: Tensor, isHeldBack: Bool) throws {
        let numbers = try numbers.to(device: x.device)
        let own = try x.indexSelect(dim: 0, numbers)
        try part(own, t === x ? own : t.indexSelect(dim: 0, numbers), isHeldBack)
      }
      try rows(heldBack, isHeldBack: true)
      if let solved { try rows(solved, isHeldBack: false) }
    }
  }

  package let batches: [Batch]

  /// - Parameter lengths: valid tokens of each row of each batch.
  package init(_ lengths: [[Int]]) throws {
    let rows = lengths.reduce(0) { $0 + $1.count }
    var row = 0
    batches = try lengths.map { lengths in
      var (held, rest, token) = ([Int64](), [Int64](), 0)
      for length in lengths {
        row += 1
        let isHeldBack = row % Self.share == 0 || rows < Self.share && rows > 1 && row == rows
        let tokens = (token..<token + length).map(Int64.init)
        if isHeldBack { held += tokens } else { rest += tokens }
        token += length
      }
      return try Batch(heldBack: held, solved: rest)
    }
  }
}
