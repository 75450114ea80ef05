import Models
import TestSupport
import Testing
import Torch
import Training

@Suite struct IntermediateLossesTests {
  private static let pairs = [
    LayerPair(student: 1, teacher: 2), LayerPair(student: 2, teacher: 2, kind: .mse), LayerPair(student: 2, teacher: 3),
  ]

  private func numbers(_ shape: [Int], _ seed: Int) throws -> Tensor {
    try Tensor(
      (0..<shape.reduce(1, *)).map { Float(($0 * 7919 + seed * 104_729 + $0 * $0 * 31) % 211) / 105 - 1 }, shape: shape)
  }

  /// From the definition, and by differences: with and without a projection to another width.
  @Test(arguments: [0, 5]) func gradientsAreTheSlopes(_ wider: Int) throws {
    try LibTorch.recording {
      let model = try TrainedModel(
        SourceModel(directory: Golden.root + "/Tests/Goldens/dense/llama3"), dtype: .float32)
      let width = model.description.sizes[.hidden]
      let before = model.parameters.count
      let losses = try IntermediateLosses(Self.pairs, model, teacherWidth: width + wider)
      #expect(model.parameters.count == before + (wider == 0 ? 0 : 6), "a matrix and a bias for each pair")
      let shape = [2, 3, width]
      let theirs = [1: try numbers([6, width + wider], 5), 2: try numbers([6, width + wider], 6)]
      let weights = try Tensor([0.25, 0.25, 0, 0.25, 0.125, 0.125] as [Float], shape: [6])
      let own = [0: try numbers(shape, 1), 1: try numbers(shape, 2)]
      func value(_ own: [Int: Tensor]) throws -> Double { try losses(own, theirs, weights: weights).value }
      let slopes = try losses(own, theirs, weights: weights).backward(weight: 0.5)
      #expect(slopes.count == 2)
      for layer in [0, 1] {
        let direction = try numbers(shape, 9 + layer)
        func moved(_ step: Double) throws -> Double {
          var moved = own
          moved[layer] = try own[layer]?.adding(direction.multiplied(by: step))
          return try value(moved)
        }
        let slope = try (moved(1e-2) - moved(-1e-2)) / 2e-2 * 0.5
        let along = try #require(slopes[layer]).multiplied(by: direction).sum(dtype: .float64).item()
        #expect(abs(slope - along) < 2e-3 * max(abs(along), 1), "layer \(layer + 1): \(slope), \(along)")
      }
      for parameter in model.parameters.dropFirst(before) {
        #expect(try parameter.gradient()?.norm(p: 2).item() ?? 0 > 0, "\(parameter.name.text)")
      }
    }
  }

  @Test func alikeIsNothing() throws {
    try LibTorch.recording {
      let model = try TrainedModel(
        SourceModel(directory: Golden.root + "/Tests/Goldens/dense/llama3"), dtype: .float32)
      let width = model.description.sizes[.hidden]
      let losses = try IntermediateLosses([LayerPair(student: 1, teacher: 1)], model, teacherWidth: width)
      let state = try numbers([1, 4, width], 3)
      // Angles alone count.
      let found = try losses(
        [0: state], [0: state.reshape([4, width]).multiplied(by: 3)], weights: Tensor.ones([4], dtype: .float32))
      #expect(abs(found.value) < 1e-5)
    }
  }
}
