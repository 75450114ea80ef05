import Execution
import JSON
import Models
import TestSupport
import Testing

/// Fields that are there without a value.
@Suite struct NullFieldTests {
  /// `transformers` takes an explicit null for false, also where the config class would have true.
  @Test func expertsAreNotNormalisedByNull() throws {
    let golden = try Golden(Golden.root + "/Tests/Goldens/moe/deepseek_v3")
    let rows = try golden.rows()
    try withTemporaryDirectory { directory in
      func found(_ value: JSON?, _ name: String) throws -> [Float] {
        var edited = try EditedCheckpoint(golden.directory)
        edited.config["norm_topk_prob"] = value
        try edited.write(to: directory + "/" + name)
        return try logits(SourceModel(directory: directory + "/" + name), rows: rows)
      }
      let (none, no, yes, absent) = (
        try found(.null, "null"), try found(.bool(false), "false"), try found(.bool(true), "true"),
        try found(nil, "absent")
      )
      #expect(none == no && absent == yes && none != yes)
    }
  }
}
