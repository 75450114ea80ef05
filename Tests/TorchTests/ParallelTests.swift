import Synchronization
import Testing
import Torch

@Suite struct ParallelTests {
  @Test func everyTaskRunsOnceWithOperationsInside() throws {
    let seen = Mutex<[Int: Double]>([:])
    try LibTorch.parallel(37) { index in
      let value = try Tensor.full([64, 64], Double(index), dtype: .float32).sum().item()
      seen.withLock { $0[index, default: 0] += value }
    }
    #expect(seen.withLock { $0 } == Dictionary(uniqueKeysWithValues: (0..<37).map { ($0, Double($0 * 4096)) }))
  }

  @Test func anErrorOfATaskIsThrownAndNoTasksAreFine() throws {
    let error = #expect(throws: TorchError.self) {
      try LibTorch.parallel(8) { index in
        if index == 5 { _ = try Tensor.zeros([2, 3], dtype: .float32).matmul(.zeros([2, 3], dtype: .float32)) }
      }
    }
    #expect(error != nil)
    try LibTorch.parallel(0) { _ in Issue.record("there is nothing to run") }
  }
}
