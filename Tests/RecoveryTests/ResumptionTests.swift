import Execution
import JSON
import Minitron
import Models
import Recovery
import TestSupport
import Testing
import Torch

/// Refits with and without room to keep what is done of a layer.
@Suite struct ResumptionTests {
  /// What layers lend each other goes along, whether batches go through a layer anew or from the branch that is next.
  @Test(arguments: ["dense/qwen3_tied", "moe/glm_moe_dsa_shared", "gemma4/shared", "moe/qwen3_moe"])
  func roomMakesNoDifference(_ golden: String) throws {
    let model = try SourceModel(directory: Golden.root + "/Tests/Goldens/" + golden)
    let hidden = model.description.sizes[.hidden]
    let selection = Selection(
      layers: Array(model.description.layers.indices),
      cuts: [.hidden: .everywhere(Array(0..<hidden).filter { $0 % 4 != 3 })])
    var generator = SplitMix64(state: 5)
    let rows = (0..<8).map { _ in
      (0..<24).map { _ in Int32.random(in: 0..<Int32(model.description.sizes[.vocabulary]), using: &generator) }
    }
    let batches = TokenBatch.groups(rows, size: 2)
    func refitted(room: Int) throws -> [[Float]] {
      let files = try RefitFiles(directory: nil, Fingerprint([("model", golden)]), model.description, isFresh: true)
      let visitor = try RefitVisitor(model.description, selection, kept: files, batches: batches, room: room) { _, _ in
        .float32
      }
      try Executor(model, dtype: .float32).walk(batches, subjects: visitor.subjects, visitor: visitor)
      return try model.description.layers.indices.flatMap { layer in
        let found = try #require(try files.found(layer)).weights
        #expect(!found.isEmpty, "layer \(layer + 1)")
        return try found.sorted { $0.key.name < $1.key.name }.map { try $0.value.floats() }
      }
    }
    let (anew, resumed) = (try refitted(room: 0), try refitted(room: 1 << 30))
    #expect(anew.count == resumed.count)
    // What is solved magnifies how sums were rounded.
    for (a, b) in zip(anew, resumed) { #expect(relativeDifference(b, a) < 1e-2) }
  }
}
