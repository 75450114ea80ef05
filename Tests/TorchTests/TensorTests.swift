import Testing
import Torch

@Suite struct FirstSteps {
  @Test func aProductOfMatrices() throws {
    let a = try Tensor([1, 2, 3, 4, 5, 6] as [Float], shape: [2, 3])
    let b = try Tensor([1, 0, 0, 1, 1, 1] as [Float], shape: [3, 2])
    let c = try a.matmul(b)
    #expect(c.shape == [2, 2])
    #expect(try c.floats() == [4, 5, 10, 11])
  }

  @Test func attentionOfEqualScoresIsTheMean() throws {
    let q = try Tensor.zeros([1, 2, 2, 4], dtype: .float32)
    let v = try Tensor([0, 0, 0, 0, 2, 4, 6, 8] as [Float], shape: [1, 1, 2, 4])
    let k = try Tensor.zeros([1, 1, 2, 4], dtype: .float32)
    let y = try Tensor.scaledDotProductAttention(query: q, key: k, value: v, isCausal: true, enableGQA: true)
    #expect(try y.floats() == [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 1, 2, 3, 4])
  }

  @Test func shapesThatDoNotFitThrow() throws {
    let a = try Tensor.zeros([2, 3], dtype: .float32)
    #expect(throws: TorchError("mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)", operation: "matmul")) {
      try a.matmul(a)
    }
  }
}
