import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Cutting hidden_size in a rotated basis. `Tests/Oracle/rotation.py` compares the weights with plain PyTorch.
@Suite struct RotationTests {
  /// Goldens whose residual stream can be rotated.
  static let models: [Golden] = Golden.all().filter { golden in
    (try? SourceModel(directory: golden.directory).description.rotationObstacle) == .some(nil)
  }

  /// One that norms behind blocks, LayerNorm or a function of hidden_size keeps from it is refused, and no other.
  @Test func theFamiliesThatAreRefused() throws {
    let refused = try RandomArchitectureTests.models.compactMap { golden in
      let model = try SourceModel(directory: golden.directory).description
      return model.rotationObstacle == nil ? nil : model.family
    }
    #expect(
      Set(refused) == [
        "gemma2", "gemma3_text", "gemma4_text", "olmo2", "gpt_neox", "nemotron", "starcoder2", "glm4", "olmo3", "gemma",
        "exaone4",
        "phi",
        "stablelm", "gpt2", "cohere2", "nanochat", "phimoe",
      ])
    for (type, reason) in [
      ("gemma2", "after its blocks"), ("olmo2", "after its blocks"), ("gpt_neox", "LayerNorm"),
      ("glm4", "after its blocks"),
      ("gemma", "function of hidden_size"), ("gpt2", "LayerNorm"), ("nanochat", "no weight"),
    ] {
      let golden = try #require(
        RandomArchitectureTests.models.first {
          try SourceModel(directory: $0.directory).description.family == type
        })
      let obstacle = try #require(try SourceModel(directory: golden.directory).description.rotationObstacle)
      #expect(obstacle.contains(reason), "\(type): \(obstacle)")
    }
  }

  /// With all directions kept nothing is lost: in float32, and with a head of its own, in which the final norm's weight has
  /// a place.
  @Test(arguments: models) func nothingCutChangesNothing(_ golden: Golden) throws {
    try withTemporaryDirectory { directory in
      try Self.writeWide(golden, to: directory + "/wide")
      let model = try SourceModel(directory: directory + "/wide")
      let rows = try golden.rows()
      let rotation = try Self.rotation(model, rows)
      let hidden = model.description.sizes[.hidden]
      #expect(rotation.constants.allSatisfy { abs(($0.last ?? 0) - 1) < 1e-6 })
      var whole = Selection(all: model.description)
      let expected = try logits(model, rows: rows)
      whole.cuts[.hidden] = .everywhere(Array(0..<hidden))
      let found = try Self.rotatedLogits(model, rotation, rows, whole)
      #expect(relativeDifference(found, expected) <= 1e-5)
      // What turned is other weights.
      let output = directory + "/out"
      try Exporter(model, selection: whole, rotation: rotation).write(to: output, record: .null, importance: nil)
      let turned = try model.sibling(directory: output)
      let name = model.description.embedding.name
      let (before, after) = (try model.tensor(name).floats(), try turned.tensor(name).floats())
      #expect(relativeDifference(after, before) > 0.1)
      let exported = try logits(turned, rows: rows)
      #expect(relativeDifference(exported, expected) <= 1e-5)
      try keepForReload(
        "\(golden.name)-rotated-whole", export: output, rows: rows, logits: exported,
        vocabulary: model.description.sizes[.vocabulary])
    }
  }

  /// What is written computes what was walked, as it is stored: types, tied heads and all.
  @Test(arguments: models) func anExportIsWhatWasWalked(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let description = model.description
    let rows = try golden.rows()
    let rotation = try Self.rotation(model, rows)
    let hidden = description.sizes[.hidden]
    let shapes = (hidden / 2..<hidden).lazy.map { ExportConfig([(.hiddenSize, $0)]) }
    guard let config = shapes.first(where: { description.refusal(of: $0.architecture(of: description)) == nil }) else {
      // Loaders that take head_dim from hidden_size want heads cut with it.
      #expect(["phi3", "olmoe", "helium"].contains(description.family))
      return
    }
    var scores = ImportanceScores()
    scores.layers = description.layers.map { _ in 0 }
    scores.rotate(by: rotation)
    for follower in description.measured where follower.follows {
      scores.lists[follower] = .byLayer(
        description.layers.map { _ in
          (0..<description.value(of: follower)).map { Float($0 * 7 % hidden) + Float($0) / 1000 }
        })
    }
    let selection = try scores.selection(for: config, of: description)
    #expect(try selection.keptDirections() == config[.hiddenSize])
    let walked = try Self.rotatedLogits(model, rotation, rows, selection)
    try withTemporaryDirectory { directory in
      let output = directory + "/out"
      try Exporter(model, selection: selection, rotation: rotation).write(to: output, record: .null, importance: nil)
      let pruned = try model.sibling(directory: output)
      let found = try logits(pruned, rows: rows)
      #expect(relativeDifference(found, walked) <= 1e-5)
      for entry in pruned.checkpoint.tensors {
        #expect(entry.type == model.checkpoint.entry(entry.name)?.type, "\(entry.name)")
      }
      try keepForReload(
        "\(golden.name)-rotated", export: output, rows: rows, logits: found,
        vocabulary: description.sizes[.vocabulary])
    }
  }

  /// However rows are divided and in whatever order they come, and through a file.
  @Test func momentsAddUpExactly() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    let model = try SourceModel(directory: golden.directory)
    let batches = TokenBatch.groups(try golden.rows(), size: 1)
    func moments(_ batches: [TokenBatch]) throws -> ImportanceStatistics {
      let observer = ImportanceObserver(model.description, microBatch: 1, basis: .rotated)
      try Executor(model, dtype: .float32).observe(batches, observer: observer)
      return try ImportanceStatistics(parsing: observer.statistics().json)
    }
    let whole = try moments(batches)
    var parts = try moments(Array(batches.dropFirst()).reversed())
    try parts.merge(moments(Array(batches.prefix(1))))
    #expect(!whole.stream.isEmpty && whole.stream == parts.stream)
    let restored = ImportanceObserver(model.description, microBatch: 1, basis: .rotated)
    try restored.restore(parts)
    let observer = ImportanceObserver(model.description, microBatch: 1, basis: .rotated)
    try observer.restore(whole)
    #expect(try restored.principalDirections() == observer.principalDirections())
    // Without a basis to find nothing of it is kept.
    let plain = ImportanceObserver(model.description, microBatch: 1)
    try Executor(model, dtype: .float32).observe(batches, observer: plain)
    #expect(try plain.statistics().stream.isEmpty)
  }

  @Test func directionsAreOrthogonalAndOrderedAndKeptBitForBit() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    let model = try SourceModel(directory: golden.directory)
    let rotation = try Self.rotation(model, golden.rows())
    let hidden = rotation.hidden
    let matrix = try Tensor(rotation.directions, shape: [hidden, hidden])
    let product = try matrix.transpose(0, 1).matmul(matrix).floats()
    for (index, value) in product.enumerated() { #expect(abs(value - (index % (hidden + 1) == 0 ? 1 : 0)) < 1e-5) }
    #expect(zip(rotation.shares, rotation.shares.dropFirst()).allSatisfy { $0 >= $1 })
    #expect(abs(rotation.shares.reduce(0, +) - 1) < 1e-5)

    let observer = ImportanceObserver(model.description, microBatch: 1, basis: .rotated)
    try Executor(model, dtype: .float32).observe(TokenBatch.groups(try golden.rows(), size: 1), observer: observer)
    var scores = try observer.scores()
    scores.rotate(by: rotation)
    let read = try ImportanceScores(parsing: scores.json, for: model.description, file: "kept")
    #expect(read.rotation == rotation)
    // Of another model, or damaged.
    let other = try SourceModel(directory: Golden.root + "/Tests/Goldens/dense/llama3").description
    #expect(throws: ModelError.self) { try rotation.check(for: other, what: "kept") }
    let short = Rotation(
      directions: rotation.directions, shares: rotation.shares, constants: rotation.constants.dropLast(),
      headFactors: rotation.headFactors)
    #expect(throws: ModelError.self) { try short.check(for: model.description, what: "kept") }
    let broken = Rotation(
      directions: [.nan] + rotation.directions.dropFirst(), shares: rotation.shares, constants: rotation.constants,
      headFactors: rotation.headFactors)
    #expect(throws: ModelError.self) { try broken.check(for: model.description, what: "kept") }
  }

  /// Channels that are always zero, or the only ones: no direction of them is missed, and nothing is divided by zero.
  @Test func constantChannelsAreNoTrouble() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    try withTemporaryDirectory { directory in
      var edited = try EditedCheckpoint(golden.directory)
      // Nothing writes the stream: each token is its embedding, of which the second half is zero.
      for index in edited.tensors.indices {
        let name = edited.tensors[index].name
        if name.contains("o_proj") || name.contains("down_proj") {
          edited.tensors[index].bytes = edited.tensors[index].bytes.map { _ in 0 }
        } else if name.contains("embed_tokens") {
          let row = edited.tensors[index].shape[1] * 2
          for byte in edited.tensors[index].bytes.indices where byte % row >= row / 2 {
            edited.tensors[index].bytes[byte] = 0
          }
        }
      }
      try edited.write(to: directory)
      let model = try SourceModel(directory: directory)
      let rows = try golden.rows()
      let rotation = try Self.rotation(model, rows)
      let hidden = rotation.hidden
      #expect(rotation.shares.prefix(hidden / 2).reduce(0, +) > 0.99999)
      try rotation.check(for: model.description, what: "constant channels")
      var half = Selection(all: model.description)
      half.cuts[.hidden] = .everywhere(Array(0..<hidden / 2))
      #expect(try Self.rotatedLogits(model, rotation, rows, half).allSatisfy(\.isFinite))
    }
  }

  @Test func activationsThatAreNotNumbersAreNamed() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/dense/qwen3_tied")
    try withTemporaryDirectory { directory in
      var edited = try EditedCheckpoint(golden.directory)
      for index in edited.tensors.indices where edited.tensors[index].name.contains("layers.0.mlp.down_proj") {
        edited.tensors[index].bytes[0..<2] = [0xC0, 0x7F]
      }
      try edited.write(to: directory)
      let model = try SourceModel(directory: directory)
      let error = #expect(throws: ModelError.self) { try Self.rotation(model, golden.rows()) }
      #expect(error?.description.contains("NaN") == true)
    }
  }

  // MARK: Support

  /// The basis that calibration on these rows finds, in float32.
  static func rotation(_ model: SourceModel, _ rows: [[Int32]]) throws -> Rotation {
    let batches = TokenBatch.groups(rows, size: 1)
    let executor = Executor(model, dtype: .float32)
    let observer = ImportanceObserver(model.description, microBatch: 1, basis: .rotated)
    try executor.observe(batches, observer: observer)
    let principal = try observer.principalDirections()
    let norms = try NormConstants(model.description, principal)
    try executor.walk(batches, subjects: [Subject(Selection(all: model.description))], visitor: norms)
    return Rotation(
      directions: principal.directions, shares: principal.shares, constants: try norms.constants(),
      headFactors: try RotatedWeights.headFactors(model, principal))
  }

  /// Logits of every valid position in the rotated basis, zero at padding.
  static func rotatedLogits(
    _ model: SourceModel, _ rotation: Rotation, _ rows: [[Int32]], _ selection: Selection
  ) throws -> [Float] {
    let executor = Executor(model, dtype: .float32)
    try executor.weights.rotate(by: rotation)
    let batch = TokenBatch(rows)
    let vocabulary = model.description.sizes[.vocabulary]
    var result = [Float](repeating: 0, count: rows.count * batch.width * vocabulary)
    try executor.run([batch], subjects: [selection]) { _, _, hidden, head in
      for (row, length) in batch.lengths.enumerated() {
        let states = try hidden.select(dim: 0, index: row).narrow(dim: 0, start: 0, length: length)
        let start = row * batch.width * vocabulary
        result.replaceSubrange(start..<start + length * vocabulary, with: try head.logits(states).floats())
      }
    }
    return result
  }

  /// The golden's checkpoint in float32, its head apart from its embedding.
  static func writeWide(_ golden: Golden, to directory: String) throws {
    var edited = try EditedCheckpoint(golden.directory)
    edited.tensors = edited.tensors.map { entry in
      guard entry.type == .bfloat16 else { return entry }
      let wide: [UInt8] = stride(from: 0, to: entry.bytes.count, by: 2).flatMap {
        [0, 0, entry.bytes[$0], entry.bytes[$0 + 1]]
      }
      return EditedCheckpoint.Entry(name: entry.name, type: .float32, shape: entry.shape, bytes: wide)
    }
    let description = try SourceModel(directory: golden.directory).description
    if description.isTied, let embedding = edited[description.embedding.name] {
      edited.tensors.append(EditedCheckpoint.copy(of: embedding, named: description.names.heads[0]))
      edited.config["tie_word_embeddings"] = .bool(false)
    }
    for key in ["torch_dtype", "dtype"] where edited.config[key] != nil { edited.config[key] = .text("float32") }
    try edited.write(to: directory)
  }
}
