import Minitron
import Testing
import Torch

/// Computing elsewhere than on the CPU, as far as it shows without an accelerator.
@Suite struct DeviceTests {
  /// The sum of (1 − cosine) × share is what the CPU adds up micro-batch by micro-batch.
  @Test(arguments: [1, 2, 3, 100]) func sharesOfTokensAddUpToMicroBatches(_ size: Int) {
    let lengths = [4, 2, 3, 4, 1]
    let shares = ImportanceObserver.tokenShares(lengths, tokens: 4, microBatch: size)
    for start in stride(from: 0, to: lengths.count, by: size) {
      let rows = start..<min(start + size, lengths.count)
      let sum = shares[rows.lowerBound * 4..<rows.upperBound * 4].reduce(0, +)
      #expect(abs(sum - 1) < 1e-6)
    }
    for (row, length) in lengths.enumerated() {
      #expect(shares[row * 4..<row * 4 + length].allSatisfy { $0 > 0 })
      #expect(shares[row * 4 + length..<row * 4 + 4].allSatisfy { $0 == 0 })
    }
  }

  @Test func aTransferToTheCPUIsThereAtOnce() throws {
    let tensor = try Tensor.arange(6, dtype: .float32)
    #expect(try Transfer(tensor, to: .cpu).receive().floats() == [0, 1, 2, 3, 4, 5])
    #expect(throws: TorchError.self) { try Device.cpu.memory() }
    if !Device.cuda(0).isAvailable {
      #expect(throws: TorchError.self) { try Transfer(tensor, to: .cuda(0)) }
      #expect(throws: TorchError.self) { try Device.cuda(0).memory() }
    }
  }
}
