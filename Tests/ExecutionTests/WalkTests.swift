import Execution
import Foundation
import Models
import TestSupport
import Testing
import Torch

/// The bundled model walked in different ways: all of them give the same numbers.
@Suite struct WalkTests {
  let model: SourceModel
  let whole: Selection

  init() throws {
    model = try SourceModel(directory: Golden.root + "/Examples/model")
    whole = Selection(all: model.description)
  }

  private func rows(_ count: Int, _ length: Int) -> [[Int32]] {
    var generator = SplitMix64(state: 7)
    return (0..<count).map { _ in (0..<length).map { _ in Int32.random(in: 0..<2048, using: &generator) } }
  }

  /// The last hidden states of every subject and batch.
  private func states(_ executor: Executor, _ batches: [TokenBatch], _ subjects: [Selection]) throws -> [[[Float]]] {
    var found = subjects.map { _ in batches.map { _ in [Float]() } }
    try executor.run(batches, subjects: subjects) { subject, batch, hidden, _ in
      found[subject][batch] = try hidden.floats()
    }
    return found
  }

  private var cuts: [Selection] {
    let ffn = [Int](0..<256)
    return [
      whole, Selection(layers: [0, 2, 4, 5, 6, 7]), Selection(layers: [0, 2, 4, 5, 6]),
      Selection(layers: Array(0..<8), cuts: [.ffn: .byLayer(Array(repeating: ffn, count: 8))]),
      Selection(layers: Array(0..<8), cuts: [.hidden: .everywhere(Array(0..<128))]), whole,
    ]
  }

  @Test func subjectsTogetherEqualSubjectsApart() throws {
    let executor = Executor(model, dtype: .float32)
    let batches = TokenBatch.groups(rows(4, 40), size: 2)
    let together = try states(executor, batches, cuts)
    for (index, cut) in cuts.enumerated() {
      #expect(try states(executor, batches, [cut])[0] == together[index], "subject \(index)")
    }
  }

  @Test func alikeSubjectsAreComputedOnce() {
    let groups = LayerGroup.groups([0, 1, 2, 3, 4, 5], cuts.map { Subject($0) }, [0, 0, 0, 0, 1, 0], layer: 0)
    #expect(groups.map(\.members) == [[0, 1, 2, 5], [3], [4]])
    // The third ends with layer 7 (number 6), the first goes on.
    #expect(
      LayerGroup.groups([0, 2], cuts.map { Subject($0) }, Array(repeating: 0, count: 6), layer: 6).map(\.members) == [
        [0], [2],
      ])
  }

  /// Hidden states may be anywhere between the legs of a walk: what it puts it takes back, and it says what is over.
  @Test func anotherChannelMayKeepTheStates() throws {
    final class Shelf: StateChannel {
      var places: [StateKey: Tensor] = [:]
      var puts = 0
      func put(_ key: StateKey, _ state: Tensor) throws {
        puts += 1
        places[key] = try state.clone()
      }
      func get(_ key: StateKey) throws -> Tensor {
        guard let state = places[key] else { throw ModelError("nothing is kept for \(key)") }
        return state
      }
      func remove(_ key: StateKey) { places[key] = nil }
    }
    let batches = TokenBatch.groups(rows(4, 20), size: 2)
    let subjects = [whole, Selection(layers: [0, 2, 4])]
    let expected = try states(Executor(model, dtype: .float32), batches, subjects)
    for bands in [BandRule.layers(1), .layers(3)] {
      let executor = Executor(model, dtype: .float32, bands: bands)
      let shelf = Shelf()
      executor.channel = { shelf }
      #expect(try states(executor, batches, subjects) == expected)
      // After the walk the last states of each subject are left at most.
      #expect(shelf.puts > batches.count && shelf.places.count <= subjects.count * batches.count)
    }
  }

  @Test func statesOnDiskEqualStatesInMemory() throws {
    let batches = TokenBatch.groups(rows(6, 32), size: 1)
    let scratch = FileManager.default.temporaryDirectory.appending(path: "coppice-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: scratch, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: scratch) }
    let small = Executor(model, dtype: .bfloat16, budget: 3 * 32 * 192 * 2, scratch: scratch)
    let found = try states(small, batches, cuts)
    #expect(try found == states(Executor(model, dtype: .bfloat16), batches, cuts))
    // The file has no name: nothing is left whatever happens.
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch).isEmpty)
    let nowhere = Executor(model, dtype: .bfloat16, budget: 0, scratch: scratch + "/missing")
    #expect(throws: ModelError.self) { try states(nowhere, batches, [whole]) }
  }

  @Test func plansMoveTheFewestBytes() throws {
    let batches = TokenBatch.groups(rows(8, 128), size: 1)
    let state = 128 * 192 * 2
    func plan(_ budget: Int, _ subjects: [Selection]? = nil) -> WalkPlan {
      Executor(model, dtype: .bfloat16, budget: budget).plan(batches, subjects: subjects ?? [whole])
    }
    let roomy = plan(8 * state)
    #expect(roomy.passes == 1 && roomy.spilledBytes == 0 && roomy.stateBytes == 8 * state)
    #expect(roomy.weightBytes == roomy.expectedBytes)
    // Half of the room: two passes over seven megabytes, or one with half of the states to disk and back eight times.
    let half = plan(4 * state)
    #expect(half.passes == 1 || half.expectedBytes == 2 * half.weightBytes)
    #expect(half.expectedBytes == min(2 * half.weightBytes, half.weightBytes + 2 * 8 * 4 * state))
    for budget in [0, 1, state, 3 * state, 5 * state] {
      let plan = plan(budget, [whole, whole])
      #expect(plan.chunks.flatMap { $0 }.count == 8)
      #expect(plan.passes == 1 || plan.stateBytes <= max(budget, 2 * state))
    }
  }

  /// What packed rows give for the last tokens of prompts, against the prompts one by one.
  private func expectPackedEqualsApart(
    _ model: SourceModel, _ prompts: [[Int32]], groups: [[Int]], limit: Int, _ cut: Selection
  ) throws {
    let executor = Executor(model, dtype: .float32)
    let packed = PromptPacker.rows(
      prompts, groups: groups, limit: limit, sharing: model.description.longestSharing)
    let found = try states(executor, packed.map(\.batch), [cut])[0]
    let channels = cut.kept(.hidden, layer: nil)?.count ?? model.description.sizes[.hidden]
    let alone = try states(executor, prompts.map { TokenBatch([$0]) }, [cut])[0].map { Array($0.suffix(channels)) }
    var seen = Set<Int>()
    for (row, numbers) in zip(packed, found) {
      for (place, prompt) in row.prompts.enumerated() {
        let own = Array(numbers[place * channels..<(place + 1) * channels])
        let largest = alone[prompt].map(abs).max() ?? 1
        #expect(zip(own, alone[prompt]).allSatisfy { abs($0 - $1) <= 1e-4 * largest }, "prompt \(prompt)")
        seen.insert(prompt)
      }
    }
    #expect(seen.count == prompts.count)
  }

  @Test func packedPromptsEqualPromptsOneByOne() throws {
    let shared = rows(1, 30)[0]
    let prompts = rows(40, 25).enumerated().map { ($0 < 25 ? shared : []) + $1.prefix(3 + $0 % 20) }
    for cut in cuts {
      try expectPackedEqualsApart(
        model, prompts, groups: [Array(0..<25), Array(25..<40)], limit: 256, cut)
    }
  }

  /// Windows, sinks, latent attention, recurrences, experts: every golden checkpoint that takes packed rows.
  @Test func packedPromptsEqualPromptsOneByOneInEveryFamily() throws {
    var checked = Set<String>()
    for golden in Golden.all() {
      let model = try SourceModel(directory: golden.directory)
      let longest = 40
      guard model.description.packsSequences else { continue }
      let vocabulary = Int32(model.description.sizes[.vocabulary])
      let all = rows(12, longest).map { $0.map { $0 % vocabulary } }
      let prompts = all.enumerated().map { index, row in
        Array((index < 8 ? all[0].prefix(6) : []) + row.prefix(2 + index % (longest - 8)))
      }
      try expectPackedEqualsApart(
        model, prompts, groups: [Array(0..<8), Array(8..<12)], limit: 64, Selection(all: model.description))
      checked.insert(golden.name)
    }
    #expect(
      checked.isSuperset(
        of: [
          "qwen3_tied", "gemma3_list", "deepseek_v2", "deepseek_v3", "gpt_oss", "mixtral", "nemotron_h_list",
          "qwen3_next", "llama_dynamic", "phi3_longrope", "phi3_longrope_within",
        ]))
  }

  /// Positions that depend on a sequence's length take its own, whatever stands beside it and however far it is padded.
  @Test(arguments: ["dense/llama_dynamic", "dense2/phi3_longrope", "dense2/phi3_longrope_within", "moe/deepseek_v3"])
  func paddingAndNeighboursDoNotMoveSequences(_ name: String) throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
    let vocabulary = Int32(model.description.sizes[.vocabulary])
    let prompts = rows(6, 90).enumerated().map { $1.prefix([9, 70, 16, 17, 90, 33][$0]).map { $0 % vocabulary } }
    let executor = Executor(model, dtype: .float32)
    let whole = [Selection(all: model.description)]
    let together = try states(executor, [TokenBatch(prompts, width: 100)], whole)[0][0]
    let channels = model.description.sizes[.hidden]
    for (row, prompt) in prompts.enumerated() {
      let alone = try states(executor, [TokenBatch([prompt])], whole)[0][0]
      let own = Array(together[row * 100 * channels..<(row * 100 + prompt.count) * channels])
      #expect(relativeDifference(own, alone) <= 1e-4, "row \(row)")
    }
  }

  /// More tokens than a chunk in front, in some prompts behind, and more prompts than are computed together.
  @Test(arguments: [
    "mamba/mamba2_tied", "mamba/nemotron_h_list", "moe/qwen3_next", "hybrid/falcon_h1", "hybrid/lfm2",
    "hybrid/jamba",
  ])
  func recurrencesGoOnFromWhatPromptsShare(_ name: String) throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + name)
    let vocabulary = Int32(model.description.sizes[.vocabulary])
    let all = rows(40, 160).map { $0.map { $0 % vocabulary } }
    let prompts = all.enumerated().map { index, row in
      Array((index < 30 ? all[0].prefix(70) : []) + row.prefix(index % 9 == 0 ? 150 - index : 1 + index % 20))
    }
    for limit in [320, 4096] {
      try expectPackedEqualsApart(
        model, prompts, groups: [Array(0..<30), Array(30..<40)], limit: limit, Selection(all: model.description))
    }
  }

  @Test func everyFamilyTakesPackedRows() throws {
    #expect(model.description.longestSharing == .max)
    for family in Families.all {
      for type in family.modelTypes {
        let description = try Families.describe(config: family.sample(modelType: type), file: "sample")
        #expect(description.packsSequences, "\(type)")
      }
    }
  }
}

@Suite struct MemoryBudgetTests {
  private func tree(_ files: [String: String]) throws -> String {
    let root = FileManager.default.temporaryDirectory.appending(path: "coppice-\(UUID().uuidString)").path
    for (path, text) in files {
      let url = URL(fileURLWithPath: root + "/" + path)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data(text.utf8).write(to: url)
    }
    return root
  }

  @Test func theTightestGroupCountsAndFilePagesDoNot() throws {
    let root = try tree([
      "a/memory.max": "max\n", "a/b/memory.max": "1000\n", "a/b/memory.current": "700\n",
      "a/b/memory.stat": "anon 100\ninactive_file 300\nactive_file 100\n",
      "a/b/c/memory.max": "5000\n", "a/b/c/memory.current": "0\n",
      "memory/x/memory.limit_in_bytes": "2000\n", "memory/x/memory.usage_in_bytes": "1900\n",
      "memory/x/memory.stat": "total_inactive_file 1500\n",
      "memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.usage_in_bytes": "1\n",
    ])
    defer { try? FileManager.default.removeItem(atPath: root) }
    #expect(MemoryBudget.groupFree(root: root, membership: "0::/a/b/c\n") == 700)
    #expect(MemoryBudget.groupFree(root: root, membership: "4:cpu,memory:/x\n0::/\n") == 1600)
    // A path that only the host knows: what is mounted counts.
    #expect(MemoryBudget.groupFree(root: root, membership: "4:memory:/docker/123\n") == 9_223_372_036_854_771_711)
    #expect(MemoryBudget.groupFree(root: root + "/none", membership: "0::/a\n") == nil)
    #expect(MemoryBudget.groupFree(root: root, membership: "garbage\n::\n") == nil)
  }

  @Test func thereIsAlwaysSome() { #expect(MemoryBudget.automatic() >= 256 << 20) }
}
