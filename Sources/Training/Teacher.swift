public import Execution
import Models
import Torch

// Shapes: M tokens, H hidden, V vocabulary, R rows of a slice of it.

/// The model that is learned from. Its layers are read as they are needed: it is never in memory as a whole.
public final class Teacher {
  private let executor: Executor
  private var head: OutputHead?

  public init(_ executor: Executor) { self.executor = executor }

  public var vocabulary: Int { executor.weights.model.description.sizes[.vocabulary] }

  /// The states after the final norm, one tensor `[B × S, H]` for each batch.
  func states(_ batches: [TokenBatch]) throws -> [Tensor] {
    var found = [Tensor?](repeating: nil, count: batches.count)
    let whole = [Selection(all: executor.weights.model.description)]
    try executor.run(batches, subjects: whole) { _, batch, hidden, head in
      self.head = self.head ?? head
      found[batch] = try hidden.reshape([-1, hidden.shape[2]])
    }
    return found.compactMap { $0 }
  }

  /// The head, which is the same for all batches.
  func slicedHead() throws -> any SlicedHead {
    let head = try self.head ?? executor.head(of: Subject(Selection(all: executor.weights.model.description)))
    self.head = head
    return TeacherHead(vocabulary: vocabulary, head: head)
  }
}

private struct TeacherHead: SlicedHead {
  let vocabulary: Int
  let head: OutputHead

  func logits(_ states: Tensor, _ rows: Range<Int>) throws -> Tensor { try head.logits(states, slice: rows) }
}
