package import Torch

/// What goes ahead of every message between ranks, so that the receiver knows what to make room for: 16 numbers.
package enum MessageHeader: Equatable {
  /// Direct: the rest comes from GPU to GPU.
  case tensor(shape: [Int], DType, isDirect: Bool)
  case bytes(count: Int)

  package static let length = 16
  private static let mark: Int64 = 0x636f_7070_6963_65
  private static let maximumDim = length - 4

  /// - Throws: `TorchError` for tensors of more dimensions than there is room for.
  package func encoded() throws -> Tensor {
    var words = [Int64](repeating: 0, count: Self.length)
    words[0] = Self.mark
    switch self {
    case .bytes(let count): (words[1], words[2]) = (1, Int64(count))
    case .tensor(let shape, let dtype, let isDirect):
      guard shape.count <= Self.maximumDim else {
        throw TorchError("a tensor of \(shape.count) dimensions is not sent: \(Self.maximumDim) at most")
      }
      words[1] = isDirect ? 3 : 2
      words[2] = Int64(DType.allCases.firstIndex(of: dtype) ?? 0)
      words[3] = Int64(shape.count)
      for (index, size) in shape.enumerated() { words[4 + index] = Int64(size) }
    }
    return try Tensor(words, shape: [words.count])
  }

  /// Nil for what no rank sends.
  package init?(_ words: [Int64]) {
    guard words.count == Self.length, words[0] == Self.mark else { return nil }
    switch words[1] {
    case 1:
      guard words[2] >= 0 else { return nil }
      self = .bytes(count: Int(words[2]))
    case 2, 3:
      let types = DType.allCases
      guard words[2] >= 0, words[2] < types.count, (0...Int64(Self.maximumDim)).contains(words[3]) else { return nil }
      let shape = words[4..<(4 + Int(words[3]))].map { Int($0) }
      guard shape.allSatisfy({ $0 >= 0 }) else { return nil }
      self = .tensor(shape: shape, types[Int(words[2])], isDirect: words[1] == 3)
    default: return nil
    }
  }
}
