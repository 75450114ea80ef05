public import Torch

/// Processes that learn together: each from its part of a step's micro-batches, and each with its part of the optimizer's state
/// (Rajbhandari et al. 2020, arXiv 1910.02054, stage 1).
public protocol Replicas {
  /// Of this process, from 0.
  var rank: Int { get }
  var count: Int { get }
  /// Adds numbers up over all processes, in the order of their ranks: the same sums on each. All call it.
  func sum(_ numbers: [Double]) throws -> [Double]
  func send(_ tensor: Tensor, to rank: Int) throws
  func receive(from rank: Int) throws -> Tensor
}

/// One process by itself.
public struct Alone: Replicas {
  public init() {}
  public var rank: Int { 0 }
  public var count: Int { 1 }
  public func sum(_ numbers: [Double]) -> [Double] { numbers }
  public func send(_ tensor: Tensor, to rank: Int) throws { throw TorchError("there is no rank \(rank)") }
  public func receive(from rank: Int) throws -> Tensor { throw TorchError("there is no rank \(rank)") }
}

/// Who of the replicas keeps which parameters' moments, and how gradients and new values come to where they are wanted.
struct Ownership {
  private let replicas: any Replicas
  /// The owner of each parameter.
  private let owners: [Int]

  /// Parameters in their order, divided by their elements.
  init(_ parameters: [Parameter], _ replicas: any Replicas) {
    self.replicas = replicas
    let whole = parameters.reduce(0) { $0 + $1.value.elementCount }
    var before = 0
    owners = parameters.map { parameter in
      defer { before += parameter.value.elementCount }
      return min(before * replicas.count / max(whole, 1), replicas.count - 1)
    }
  }

  func isOwn(_ number: Int) -> Bool { owners[number] == replicas.rank }
  func owner(_ number: Int) -> Int { owners[number] }

  /// Which of a step's micro-batches are this process's.
  func share(of batches: Int) -> Range<Int> {
    batches * replicas.rank / replicas.count..<batches * (replicas.rank + 1) / replicas.count
  }

  private static func nothing() throws -> Tensor { try Tensor.zeros([0], dtype: .float32) }

  /// Adds up each parameter's gradients at its owner; others have none afterwards.
  func collectGradients(_ parameters: [Parameter]) throws {
    guard replicas.count > 1 else { return }
    for (number, parameter) in parameters.enumerated() {
      guard isOwn(number) else {
        try replicas.send(parameter.gradient ?? Self.nothing(), to: owners[number])
        parameter.dropGradient()
        continue
      }
      for rank in 0..<replicas.count where rank != replicas.rank {
        let other = try replicas.receive(from: rank)
        if other.elementCount > 0 { try parameter.add(other) }
      }
    }
  }

  /// Gives every process the values that owners have changed.
  ///
  /// - Parameter changed: numbers of the parameters that this process has changed.
  func spreadValues(_ parameters: [Parameter], changed: Set<Int>) throws {
    guard replicas.count > 1 else { return }
    for (number, parameter) in parameters.enumerated() {
      if isOwn(number) {
        let value = try changed.contains(number) ? parameter.value : Self.nothing()
        for rank in 0..<replicas.count where rank != replicas.rank { try replicas.send(value, to: rank) }
      } else {
        let value = try replicas.receive(from: owners[number])
        if value.elementCount > 0 { try parameter.value.copy(from: value) }
      }
    }
  }
}
