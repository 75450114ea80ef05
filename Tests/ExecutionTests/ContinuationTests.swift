import Execution
import Foundation
import JSON
import Models
import TestSupport
import Testing
import Torch

/// Many prompts continued together: the tokens that `transformers` generates (`Tests/Goldens/make_generation.py`), whatever is
/// computed beside them.
@Suite struct ContinuationTests {
  struct Case: CustomStringConvertible, Sendable {
    let facts: JSON
    var golden: String { facts["golden"]?.string ?? "?" }
    var description: String { golden + (facts["shared"] == .bool(true) ? ", shared" : "") }
    private func tokens(_ name: String) -> [[Int32]] {
      (facts["prompts"]?.array ?? []).map { ($0[name]?.array ?? []).compactMap { $0.int.map { Int32($0) } } }
    }
    var prompts: [[Int32]] { tokens("prompt") }
    var expected: [[Int32]] { tokens("new") }
    func model() throws -> SourceModel { try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden) }
  }

  static let cases = ((try? Golden.json(Golden.root + "/Tests/Goldens/generation/greedy.json"))?.array ?? []).map(
    Case.init)

  /// A continuation, and the logits that its tokens were chosen by.
  private struct Continued: Equatable {
    var tokens: [Int32] = []
    var logits: [[Float]] = []
  }

  private func continued(
    _ executor: Executor, _ prompts: [[Int32]], subjects: [Selection]? = nil, items: [Int]? = nil,
    sharing: Bool = true, stops: Set<Int32> = [], count: Int = 16
  ) throws -> [[Continued]] {
    let subjects = subjects ?? [Selection(all: executor.weights.model.description)]
    var found = subjects.map { _ in prompts.map { _ in Continued() } }
    var greedy = Sampler()
    let task = Continuations(prompts: prompts, maxNewTokens: count, stops: stops, sharesBeginning: sharing)
    try executor.generate(
      task, items: items, subjects: subjects.map { Subject($0) },
      choose: { subject, item, logits in
        found[subject][item].logits.append(logits)
        return Int32(clamping: try greedy.next(logits))
      },
      finish: { subject, item, new, _ in
        #expect(found[subject][item].tokens.isEmpty)
        found[subject][item].tokens = new
      })
    return found
  }

  @Test func thereAreCases() { #expect(Self.cases.count >= 100) }

  @Test(arguments: cases) func greedyTokensEqualTransformers(_ one: Case) throws {
    let model = try one.model()
    let found = try continued(Executor(model, dtype: .float32), one.prompts)[0]
    for (item, expected) in one.expected.enumerated() {
      #expect(Array(found[item].tokens.prefix(expected.count)) == expected, "prompt \(item)")
      #expect(found[item].tokens.count == 16)
    }
  }

  /// One of each kind of block.
  private static let alike: Set<String> = [
    "dense/mistral_window", "dense2/gpt_neox_parallel", "dense2/phi3_longrope", "dense2/qwen35_list", "moe/deepseek_v3",
    "moe/gpt_oss", "moe/qwen3_moe", "moe/qwen3_next", "mamba/nemotron_h_latent", "mamba/mamba2_tied",
    "hybrid/falcon_h1", "hybrid/lfm2", "hybrid/llama4",
    "gemma4/shared", "gemma4/mixture", "hybrid/jamba",
  ]

  /// In memory for one sequence at a time, and with each prompt by itself: the same logits, bit for bit.
  @Test(arguments: cases.filter { alike.contains($0.golden) }, [DType.float32, .bfloat16])
  func nothingBesideASequenceChangesIt(_ one: Case, _ dtype: DType) throws {
    // To the last bit, while all are computed by the same kernels.
    try WholeProcess.alone {
      let model = try one.model()
      let together = try continued(Executor(model, dtype: dtype), one.prompts, count: 6)[0]
      let narrow = try continued(Executor(model, dtype: dtype, budget: 1), one.prompts, count: 6)[0]
      for item in one.prompts.indices {
        #expect(narrow[item] == together[item], "prompt \(item), one at a time")
        let alone = try continued(Executor(model, dtype: dtype), one.prompts, items: [item], count: 6)[0][item]
        #expect(alone == together[item], "prompt \(item), alone")
      }
    }
  }

  private var fixture: SourceModel {
    get throws { try SourceModel(directory: Golden.root + "/Examples/model") }
  }

  private func prompts(_ count: Int, sharing: Int = 0) -> [[Int32]] {
    var generator = SplitMix64(state: 11)
    let start = (0..<sharing).map { _ in Int32.random(in: 0..<2000, using: &generator) }
    return (0..<count).map { number in
      start + (0..<(5 + number * 7 % 90)).map { _ in Int32.random(in: 0..<2000, using: &generator) }
    }
  }

  /// Candidates in one walk, each with its own cut, against each by itself; more sequences than a row takes.
  @Test func subjectsTogetherEqualSubjectsApart() throws {
    // To the last bit, while all are computed by the same kernels.
    try WholeProcess.alone {
      let model = try fixture
      let ffn = [Int](0..<256)
      let subjects = [
        Selection(all: model.description), Selection(layers: [0, 2, 4, 5, 6, 7]),
        Selection(layers: Array(0..<8), cuts: [.ffn: .byLayer(Array(repeating: ffn, count: 8))]),
        Selection(layers: Array(0..<8), cuts: [.hidden: .everywhere(Array(0..<128))]),
      ]
      let executor = Executor(model, dtype: .float32)
      let prompts = prompts(40)
      let together = try continued(executor, prompts, subjects: subjects, count: 8)
      for (number, subject) in subjects.enumerated() {
        #expect(try continued(executor, prompts, subjects: [subject], count: 8)[0] == together[number], "\(number)")
      }
      // In little memory a subject after the other, few sequences at a time.
      let small = Executor(model, dtype: .float32, budget: 3 << 20)
      // Fewer rows at a time, of which some processors' products add up in another order.
      for (few, many) in zip(try continued(small, prompts, subjects: subjects, count: 8), together) {
        #expect(few.map(\.tokens) == many.map(\.tokens))
        for (one, other) in zip(few.flatMap(\.logits), many.flatMap(\.logits)) {
          #expect(relativeDifference(one, other) < 1e-5)
        }
      }
    }
  }

  @Test func aSharedBeginningIsComputedOnce() throws {
    let executor = Executor(try fixture, dtype: .float32)
    let prompts = prompts(12, sharing: 100)
    let (with, without) = (try continued(executor, prompts)[0], try continued(executor, prompts, sharing: false)[0])
    for (one, other) in zip(with, without) {
      #expect(one.tokens == other.tokens)
      for (own, their) in zip(one.logits, other.logits) { #expect(relativeDifference(own, their) < 1e-5) }
    }
    let plans = [true, false].map {
      executor.plan(
        Continuations(prompts: prompts, maxNewTokens: 16, stops: [], sharesBeginning: $0),
        subjects: [Selection(all: executor.weights.model.description)])
    }
    #expect(plans[0].stateBytes < plans[1].stateBytes)
  }

  @Test func continuationsEndWhereTheyShould() throws {
    let executor = Executor(try fixture, dtype: .float32)
    let prompts = prompts(3)
    let whole = try continued(executor, prompts)[0].map(\.tokens)
    let stop = whole[0][4]
    for (tokens, all) in zip(try continued(executor, prompts, stops: [stop])[0].map(\.tokens), whole) {
      #expect(tokens == Array(all.prefix { $0 != stop }))
    }
    var ends: [ContinuationEnd] = []
    var greedy = Sampler()
    try executor.generate(
      Continuations(prompts: prompts, maxNewTokens: 16, stops: [stop]),
      subjects: [Subject(Selection(all: executor.weights.model.description))],
      choose: { _, _, logits in Int32(clamping: try greedy.next(logits)) },
      isComplete: { _, item, new in item == 1 && new.count == 3 },
      finish: { _, item, _, end in
        if item < 2 { ends.append(end) }
      })
    #expect(ends == [.complete, .stop])
    #expect(throws: ModelError.self) { try continued(executor, [[1, 2048]]) }
    #expect(throws: ModelError.self) { try continued(executor, [[]]) }
  }
}
