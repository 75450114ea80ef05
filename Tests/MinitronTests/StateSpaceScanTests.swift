import Execution
import Foundation
import Models
import TestSupport
import Testing
import Torch

/// The chunked scan against the recurrence it stands for, token by token in double precision.
@Suite struct StateSpaceScanTests {
  /// Inputs of one row: S tokens, N heads of P channels, G groups, states of K.
  private struct Inputs {
    let (tokens, heads, width, groups, size): (Int, Int, Int, Int, Int)
    let x, step, input, output, decay, skip: [Float]

    init(tokens: Int, heads: Int = 4, width: Int = 3, groups: Int = 2, size: Int = 5, decays: ClosedRange<Float>) {
      (self.tokens, self.heads, self.width, self.groups, self.size) = (tokens, heads, width, groups, size)
      var generator = SplitMix64(state: UInt64(tokens))
      func values(_ count: Int, _ range: ClosedRange<Float> = -1...1) -> [Float] {
        (0..<count).map { _ in Float.random(in: range, using: &generator) }
      }
      x = values(tokens * heads * width)
      // Now and then a step of nothing: such a token leaves the state alone.
      step = values(tokens * heads, 0.001...2).enumerated().map { $0 % 7 == 3 ? 0 : $1 }
      input = values(tokens * groups * size)
      output = values(tokens * groups * size)
      decay = values(heads, decays).map { -$0 }
      skip = values(heads)
    }

    func recurrence() -> [Float] {
      var states = [Double](repeating: 0, count: heads * width * size)
      var y: [Float] = []
      for t in 0..<tokens {
        for h in 0..<heads {
          let group = h / (heads / groups)
          let delta = Double(step[t * heads + h])
          let keep = exp(delta * Double(decay[h]))
          for p in 0..<width {
            let value = Double(x[(t * heads + h) * width + p])
            var sum = Double(skip[h]) * value
            for k in 0..<size {
              let at = (h * width + p) * size + k
              states[at] = states[at] * keep + delta * value * Double(input[(t * groups + group) * size + k])
              sum += states[at] * Double(output[(t * groups + group) * size + k])
            }
            y.append(Float(sum))
          }
        }
      }
      return y
    }

    func scanned(parts: [Int]) throws -> [Float] {
      let scan = try StateSpaceScan(
        decay: Tensor(decay, shape: [heads]), skip: Tensor(skip, shape: [heads]))
      let state = try StateSpaceScan.emptyState(
        groups: groups, size: size, heads: heads, headDim: width, device: .cpu)
      var start = 0
      return try parts.flatMap { length in
        func part(_ values: [Float], _ shape: [Int]) throws -> Tensor {
          try Tensor(values, shape: [tokens] + shape).narrow(dim: 0, start: start, length: length)
        }
        defer { start += length }
        let y = try scan(
          x: part(x, [heads, width]), step: part(step, [heads]), input: part(input, [groups, size]),
          output: part(output, [groups, size]), state: state)
        return try y.floats()
      }
    }
  }

  @Test(arguments: [1, 2, 63, 64, 65, 128, 200]) func equalsTheRecurrence(_ tokens: Int) throws {
    let inputs = Inputs(tokens: tokens, decays: 0.01...2)
    #expect(relativeDifference(try inputs.scanned(parts: [tokens]), inputs.recurrence()) <= 2e-6)
  }

  /// Decay over a chunk far beyond what float32 can hold: quotients of exponentials would overflow.
  @Test func headsThatForgetAtOnceAndHeadsThatNeverDoStayFinite() throws {
    for decays in [Float(40)...90, 1e-6...1e-5] {
      let inputs = Inputs(tokens: 150, decays: decays)
      #expect(relativeDifference(try inputs.scanned(parts: [150]), inputs.recurrence()) <= 2e-6)
    }
  }

  @Test func goesOnFromAState() throws {
    let inputs = Inputs(tokens: 131, decays: 0.01...1)
    #expect(relativeDifference(try inputs.scanned(parts: [70, 1, 60]), inputs.recurrence()) <= 2e-6)
  }

  @Test func aLayerFedTokenByTokenComputesWhatItComputesAtOnce() throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/mamba/mamba2_tied")
    let weights = try WeightSource(model, dtype: .float32).layer(0)
    let layer = model.description.layers[0]
    let x = try Tensor.randn([2, 9, model.description.sizes[.hidden]])
    func forward(_ x: Tensor, cache: KeyValueCache?, start: Int) throws -> Tensor {
      let count = x.shape[1]
      let context = ForwardContext(
        lengths: [count, count], positions: Positions(start: start, count: count, dtype: .float32), cache: cache)
      return try layer.forward(x, weights: weights, context: context)
    }
    let whole = try forward(x, cache: nil, start: 0)
    let cache = KeyValueCache()
    var parts: [Tensor] = []
    for (start, length) in [(0, 2), (2, 4), (6, 1), (7, 1), (8, 1)] {
      parts.append(try forward(x.narrow(dim: 1, start: start, length: length), cache: cache, start: start))
    }
    #expect(relativeDifference(try Tensor.cat(parts, dim: 1).floats(), try whole.floats()) <= 1e-5)
  }
}
