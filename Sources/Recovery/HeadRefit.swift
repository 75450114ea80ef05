import Execution
import Models
import Torch

/// Refits what turns the last states into logits: a head of its own, or, where it is tied to the embedding, the final norm's
/// weight.
///
/// Shapes: T valid tokens of a batch, H hidden of the original, K of the pruned model, V vocabulary.
final class HeadRefit {
  private let description: ModelDescription
  private var original: [Int: Tensor] = [:]
  private var heads: [Tensor] = []
  private var moments: DividedMoments?

  private let division: RowDivision

  /// Bytes for the original's states: what comes after them is not seen.
  private var room: Int

  init(_ description: ModelDescription, _ division: RowDivision, room: Int) {
    (self.description, self.division, self.room) = (description, division, room)
  }

  /// States after the final norm: all batches of the original, then all of the pruned model.
  func see(subject: Int, batch: Int, lengths: [Int], hidden: Tensor, head: OutputHead) throws {
    if heads.count == subject { heads.append(try head.weight()) }
    guard subject == 1 else {
      room -= hidden.byteCount
      if room >= 0 { original[batch] = hidden }
      return
    }
    guard let other = original.removeValue(forKey: batch) else { return }
    let (x, y) = (try hidden.valid(lengths), try other.valid(lengths))
    let moments = try self.moments ?? DividedMoments(inputs: x.shape[1], targets: y.shape[1])
    self.moments = moments
    try moments.add(x, y, division.batches[batch])
  }

  /// - Parameter norm: the pruned model's final norm's weight, `[K]`; nil where it has none.
  /// - Returns: nothing where nothing is better.
  func solve(norm: Tensor?) throws -> [Weight: Tensor] {
    guard let moments, heads.count == 2 else { return [:] }
    return try Self.solve(description, moments, whole: heads[0], own: heads[1], norm: norm)
  }

  /// - Parameters:
  ///   - moments: of the pruned model's states after the final norm, and of the original's.
  ///   - whole: the original's head, `[V, H]`.
  ///   - own: the pruned model's, `[V, K]`.
  ///   - norm: the pruned model's final norm's weight, `[K]`; nil where it has none.
  /// - Returns: nothing where nothing is better, or nothing could hold it.
  static func solve(
    _ description: ModelDescription, _ moments: DividedMoments, whole: Tensor, own: Tensor, norm: Tensor?
  ) throws -> [Weight: Tensor] {
    if let head = description.head {
      let solution = try RidgeRegression(moments: moments).solve(towards: own, targets: whole)
      return solution.map { [head: $0.weight] } ?? [:]
    }
    guard let norm, let name = description.finalNorm.weight else { return [:] }
    let (whole, own) = (try whole.to(device: .cpu).centred(), try own.to(device: .cpu).centred())
    let factors = try RidgeRegression(moments: DividedMoments(moments.heads(whole, own)))
      .solve(towards: .ones([1, own.shape[1]], dtype: .float32))
    guard let factors = try factors?.weight.reshape([own.shape[1]]) else { return [:] }
    let offset = description.finalNorm.kind.offset
    let weight = try norm.to(device: .cpu).to(.float32).adding(offset).multiplied(by: factors).subtracting(offset)
    return [name: weight]
  }
}

extension DividedMoments {
  /// Of factors d, one for each input: the moments of logits `own · diag(d) · x` that should be `whole · y`.
  fileprivate func heads(_ whole: Tensor, _ own: Tensor) throws -> (solved: Moments, heldBack: Moments) {
    let gram = try own.transpose(0, 1).matmul(own).to(.float64)
    let cross = try own.transpose(0, 1).matmul(whole).to(.float64)
    func factors(_ moments: Moments) throws -> Moments {
      let aims = try cross.transpose(0, 1).multiplied(by: moments.targets).sum(dims: [0])
      return Moments(
        inputs: try gram.multiplied(by: moments.inputs), targets: try aims.unsqueeze(0), tokens: moments.tokens)
    }
    return (try factors(solved), try factors(heldBack))
  }

  fileprivate convenience init(_ parts: (solved: Moments, heldBack: Moments)) {
    self.init(solved: parts.solved, heldBack: parts.heldBack)
  }
}

extension Tensor {
  /// `[V, H]` float32, each column less its mean: what all logits have in common changes no probability.
  func centred() throws -> Tensor {
    let wide = try to(.float32)
    return try wide.subtracting(wide.mean(dims: [0], keepDim: true))
  }
}
