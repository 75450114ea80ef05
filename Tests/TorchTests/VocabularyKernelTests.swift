import TestSupport
import Testing
import Torch

extension KernelTests {
  /// Losses of a stretch of the vocabulary from their definition in float64, with every instruction set.
  @Suite struct VocabularyKernels {
    /// Around lanes, four of them, and tasks of tokens.
    static let sizes = [(1, 1), (3, 15), (16, 16), (17, 64), (33, 129), (2, 4099)]

    private func large(_ tokens: Int, _ vocabulary: Int, _ dtype: DType, seed: UInt64) throws -> Tensor {
      try sample([tokens, vocabulary], dtype, seed: seed, scale: 5)
    }

    @Test(arguments: sizes, [DType.float32, .bfloat16])
    func sumsOfExponentials(_ size: (tokens: Int, vocabulary: Int), _ dtype: DType) throws {
      let logits = try large(size.tokens, size.vocabulary, dtype, seed: 1)
      let choice = try large(size.tokens, size.vocabulary, dtype, seed: 2)
      // The last token has none.
      var least = [Float](repeating: 0.5, count: size.tokens)
      least[size.tokens - 1] = 1e9
      let floor = try Tensor(least, shape: [size.tokens])
      let wide = try logits.to(.float64)
      let chosen = try Tensor.where(
        choice.to(.float32).ge(floor.unsqueeze(1)), wide.multiplied(by: 0.25),
        Tensor([-Float.infinity], shape: [1, 1]).to(.float64))
      try withEachKernel { name in
        try expectClose(logits.logSums(), wide.logSumExp(dims: [1]).to(DType.float32), absolute: 4e-6, name)
        let found = try logits.logSums(scaledBy: 0.25, where: choice, atLeast: floor)
        try expectClose(found, chosen.logSumExp(dims: [1]).to(.float32), absolute: 4e-6, name)
        #expect(try found.floats()[size.tokens - 1] == -.infinity, "\(name)")
      }
    }

    struct Rule: Sendable, CustomTestStringConvertible {
      var scale = 1.0, divergence = 0.0, crossEntropy = 0.0, hasTeacher = true, least: Float?
      var testDescription: String {
        "\(divergence) KL at \(scale) + \(crossEntropy) CE, teacher \(hasTeacher), least \(least ?? -.infinity)"
      }
    }
    static let rules = [
      Rule(divergence: 1), Rule(divergence: 0.7, crossEntropy: 0.3), Rule(crossEntropy: 1, hasTeacher: false),
      Rule(crossEntropy: 1), Rule(scale: 0.5, divergence: 2), Rule(scale: 0.5, divergence: 1, crossEntropy: 1),
      Rule(divergence: 1, least: 0.5), Rule(scale: 2, divergence: 1, crossEntropy: 0.5, least: 0.5),
    ]

    @Test(arguments: rules, [DType.float32, .bfloat16]) func slopes(_ rule: Rule, _ dtype: DType) throws {
      for (tokens, vocabulary) in Self.sizes { try check(rule, dtype, tokens, vocabulary) }
    }

    private func check(_ rule: Rule, _ dtype: DType, _ tokens: Int, _ vocabulary: Int) throws {
      let logits = try large(tokens, vocabulary, dtype, seed: 1)
      let teacher = try large(tokens, vocabulary, dtype, seed: 2)
      let shares: [Float] = (0..<tokens).map { $0 % 5 == 3 ? 0 : Float($0 % 3 + 1) }
      let weights = try Tensor(shares, shape: [tokens])
      // Some lie before the stretch and some after it.
      let targets: [Int64] = (0..<tokens).map { Int64($0 * 7 % (vocabulary + 2)) - 1 }
      let places = try Tensor(targets, shape: [tokens])
      let least = try rule.least.map { try Tensor([Float](repeating: $0, count: tokens), shape: [tokens]) }
      let nothing = try Tensor([-1e30 as Float], shape: [1, 1]).to(DType.float64)
      func share(_ x: Tensor, softly: Bool) throws -> Tensor {
        let scaled = try x.to(DType.float64).multiplied(by: softly ? rule.scale : 1)
        guard softly, let least else { return scaled }
        let isIn = try teacher.to(DType.float32).ge(least.unsqueeze(1))
        return try Tensor.where(isIn, scaled, nothing)
      }
      // As if the vocabulary had more than this stretch.
      func sums(_ x: Tensor) throws -> Tensor { try x.logSumExp(dims: [1], keepDim: true).adding(0.5) }
      let ours = try share(logits, softly: true)
      let theirs = try share(teacher, softly: true)
      let text = try share(logits, softly: false)
      let (ownSums, teacherSums, plain) = (try sums(ours), try sums(theirs), try sums(text))
      let (a, b) = (try ours.subtracting(ownSums), try theirs.subtracting(teacherSums))
      var indicator = [Float](repeating: 0, count: tokens * vocabulary)
      for (row, target) in targets.enumerated() where target >= 0 && target < vocabulary {
        indicator[row * vocabulary + Int(target)] = 1
      }
      let gaps = try b.exp().multiplied(by: b.subtracting(a)).sum(dims: [1]).to(DType.float32)
      var slope = try text.subtracting(plain).exp()
      slope = try slope.subtracting(Tensor(indicator, shape: [tokens, vocabulary])).multiplied(by: rule.crossEntropy)
      if rule.hasTeacher {
        let difference = try a.exp().subtracting(b.exp())
        slope = try slope.adding(difference.multiplied(by: rule.divergence))
      }
      slope = try slope.multiplied(by: weights.to(DType.float64).unsqueeze(1))
      func flat(_ x: Tensor) throws -> Tensor { try x.squeeze(1).to(DType.float32) }
      let terms = VocabularyTerms(
        plain: try flat(plain), soft: rule.hasTeacher ? (try flat(ownSums), try flat(teacherSums)) : nil, least: least,
        weights: weights, scale: rule.scale, divergence: rule.divergence, crossEntropy: rule.crossEntropy)
      try withEachKernel { name in
        let comment = "\(name), \(tokens) by \(vocabulary)"
        let found = try terms(logits, teacher: rule.hasTeacher ? teacher : nil, targets: places, wantsSlope: true)
        let expected = try slope.to(dtype)
        try expectClose(#require(found.slope), expected, ulps: 8, absolute: 4e-6, comment)
        #expect((found.gaps != nil) == rule.hasTeacher)
        if let found = found.gaps { try expectClose(found, gaps, ulps: 16, absolute: 2e-5, comment) }
        let only = try terms(logits, teacher: rule.hasTeacher ? teacher : nil, targets: places, wantsSlope: false)
        #expect(only.slope == nil && (only.gaps != nil) == rule.hasTeacher, "\(comment)")
      }
    }

    @Test func whatDoesNotFitIsRefused() throws {
      let logits = try Tensor.ones([3, 4], dtype: .float32)
      let three = try Tensor.ones([3], dtype: .float32)
      let targets = try Tensor([Int64(0), 1, 2], shape: [3])
      expectError("needs the least") { _ = try logits.logSums(where: logits) }
      expectError("teacher's logits") { _ = try logits.logSums(where: .ones([3, 5], dtype: .float32), atLeast: three) }
      expectError("3 tokens") { _ = try logits.logSums(where: logits, atLeast: .ones([4], dtype: .float32)) }
      expectError("[tokens, vocabulary]") { _ = try Tensor.ones([3], dtype: .float32).logSums() }
      func terms(_ weights: Tensor, soft: Bool) throws -> VocabularyTerms {
        VocabularyTerms(
          plain: three, soft: soft ? (three, three) : nil, least: nil, weights: weights, scale: 1, divergence: 1,
          crossEntropy: 1)
      }
      expectError("both sides' sums") {
        _ = try terms(three, soft: false)(logits, teacher: logits, targets: targets, wantsSlope: true)
      }
      expectError("the targets") {
        _ = try terms(three, soft: true)(logits, teacher: logits, targets: three, wantsSlope: true)
      }
      expectError("the weights") {
        _ = try terms(.ones([2], dtype: .float32), soft: true)(
          logits, teacher: logits, targets: targets, wantsSlope: true)
      }
    }
  }
}
