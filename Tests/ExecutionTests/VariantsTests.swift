import Checkpoint
import Execution
import Foundation
import JSON
import Models
import TestSupport
import Testing
import Torch

/// Other configs over the goldens' weights, against what `transformers` computes with them (`make_variants.py`).
@Suite struct VariantsTests {
  private static let folder = Golden.root + "/Tests/Goldens/variants"

  struct Variant: CustomStringConvertible {
    let facts: JSON
    var description: String { facts["name"]?.string ?? "?" }
    var golden: String { Golden.root + "/Tests/Goldens/" + (facts["golden"]?.string ?? "?") }

    /// A checkpoint with the variant's config and the golden's weights.
    func withModel<T>(_ body: (SourceModel) throws -> T) throws -> T {
      try withTemporaryDirectory { directory in
        var config = try #require(Golden.json(golden + "/config.json").object)
        for (key, value) in try #require(facts["sets"]?.object) { config[key] = value }
        for key in facts["drops"]?.array ?? [] { config[try #require(key.string)] = nil }
        try Data(JSON.object(config).serialized().utf8).write(to: URL(fileURLWithPath: directory + "/config.json"))
        try FileManager.default.createSymbolicLink(
          atPath: directory + "/model.safetensors", withDestinationPath: golden + "/model.safetensors")
        return try body(SourceModel(directory: directory))
      }
    }
  }

  private static func variants(_ file: String) -> [Variant] {
    ((try? Golden.json(folder + "/" + file))?.array ?? []).map(Variant.init)
  }

  @Test func thereAreVariants() {
    #expect(Self.variants("losses.json").count >= 12 && Self.variants("generated.json").count == 3)
  }

  @Test(arguments: variants("losses.json")) func lossesEqualTransformers(_ variant: Variant) throws {
    let rows = try Golden(variant.golden).rows()
    let expected = try #require(variant.facts["loss"]?.double)
    try variant.withModel { model in
      let found = try logits(model, rows: rows)
      let vocabulary = model.description.sizes[.vocabulary]
      let width = rows.map(\.count).max() ?? 0
      var (sum, count) = (0.0, 0)
      for (row, tokens) in rows.enumerated() {
        for (place, next) in tokens.dropFirst().enumerated() {
          let start = (row * width + place) * vocabulary
          let values = found[start..<start + vocabulary].map(Double.init)
          let largest = values.max() ?? 0
          sum += log(values.reduce(0) { $0 + exp($1 - largest) }) + largest - values[Int(next)]
          count += 1
        }
      }
      #expect(abs(sum / Double(count) - expected) <= 1e-5 * expected)
    }
  }

  /// Token by token with a cache, past the length at which positions change: keys that were cached before keep their
  /// rotation, but Phi-3's are computed anew.
  @Test(arguments: variants("generated.json")) func generationEqualsTransformers(_ variant: Variant) throws {
    let file = try SafetensorsFile(path: Self.folder + "/generated.safetensors")
    func values<T>(_ name: String, _ type: T.Type) throws -> [T] {
      let entry = try #require(file.tensors.first { $0.name == "\(variant).\(name)" })
      return try file.bytes(of: entry).withMemoryRebound(to: type) { Array($0) }
    }
    let tokens = try values("tokens", Int64.self).map { Int32($0) }
    let expected = try values("logits", Float.self)
    let prompt = try #require(variant.facts["prompt"]?.int)
    try variant.withModel { model in
      let generator = try Generator(model, dtype: .float32)
      var found = try generator.logits(appending: Array(tokens[..<prompt])).floats()
      for token in tokens[prompt..<(tokens.count - 1)] { found += try generator.logits(appending: [token]).floats() }
      #expect(relativeDifference(found, expected) <= 1e-5)
      #expect(generator.position == tokens.count - 1)
    }
  }
}
