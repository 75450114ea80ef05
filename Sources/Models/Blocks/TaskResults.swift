import Torch

/// Results of tasks that run at the same time, each of which puts its own.
///
/// Unchecked: no two tasks have the same number, and results are read after all are done.
final class TaskResults: @unchecked Sendable {
  let count: Int
  private let places: UnsafeMutableBufferPointer<Tensor?>

  init(count: Int) {
    self.count = count
    places = .allocate(capacity: count)
    places.initialize(repeating: nil)
  }

  deinit {
    places.deinitialize()
    places.deallocate()
  }

  subscript(number: Int) -> Tensor? {
    get { places.indices.contains(number) ? places[number] : nil }
    set { if places.indices.contains(number) { places[number] = newValue } }
  }

  /// All results after one another.
  func joined(dim: Int) throws -> Tensor { try Tensor.cat(places.compactMap { $0 }, dim: dim) }
}
