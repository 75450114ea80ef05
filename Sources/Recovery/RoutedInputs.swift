import Torch

/// What the routed experts of a branch read of a batch, gathered expert by expert: each token once.
struct RoutedInputs {
  private var rows: [Tensor] = []
  private var tokens: [Int] = []

  var isEmpty: Bool { rows.isEmpty }

  /// - Parameters:
  ///   - input: rows of one expert, `[R, C]`; copied.
  ///   - tokens: their numbers among the batch's valid tokens.
  mutating func add(_ input: Tensor, _ tokens: [Int]) throws {
    rows.append(try input.clone())
    self.tokens += tokens
  }

  /// All tokens in their order, `[T, C]`, every one of which has come to some expert.
  mutating func take() throws -> Tensor {
    let all = try Tensor.cat(rows, dim: 0)
    var places = [Int64](repeating: 0, count: (tokens.max() ?? -1) + 1)
    for (row, token) in tokens.enumerated() { places[token] = Int64(row) }
    (rows, tokens) = ([], [])
    return try all.indexSelect(dim: 0, Tensor(places, shape: [places.count]).to(device: all.device))
  }
}
