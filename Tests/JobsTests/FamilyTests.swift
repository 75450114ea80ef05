import Foundation
import JSON
import Jobs
import Models
import TestSupport
import Testing

/// A family as a file outside this package has it: Qwen3 by another name.
private enum Outsider: Family {
  static let modelTypes = ["outsider"]

  static func describe(_ config: ConfigReader) throws -> ModelDescription {
    let decoder = try DenseDecoder(config, defaultHeadDim: 128)
    return try decoder.describe(
      attention: { Attention($0, headDim: $1, rotary: $2, normEpsilon: decoder.epsilon) },
      positions: RotaryFields(maxPositions: 32768))
  }
}

@Suite struct FamilyTests {
  @Test func familiesOfOtherPackagesArePruned() throws {
    try withTemporaryDirectory { directory in
      let file = directory + "/config.json"
      var config = try #require(try Golden.json(Golden.root + "/Examples/model/config.json").object)
      config["model_type"] = .text("outsider")
      try Data(JSON.object(config).serialized().utf8).write(to: URL(fileURLWithPath: file))
      var request = PruneRequest(model: directory, output: "")
      request.search.targetParams = 3_200_000
      request.search.channelDivisor = 32
      #expect(throws: ModelError.self) { try PlanJob(request).run() }
      for _ in 0..<2 { Families.register(Outsider.self) }
      let plan = try PlanJob(request).run()
      #expect(plan.family == "outsider" && plan.search.original.params == 3_935_936)
      #expect(Families.modelTypes.filter { $0 == "outsider" }.count == 1)
    }
  }
}
