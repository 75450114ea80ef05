import Foundation
import JSON
import Models
import TestSupport
import Testing

/// What keeps a checkpoint from being read is said at once, the type of its text model first.
@Suite struct ObstaclesTests {
  private static let fp8 = #""quantization_config": {"quant_method": "fp8"}"#

  private func message(_ fields: String, quantisationFile: String? = nil) throws -> String {
    let config = try #require(JSON(parsing: Array("{\(fields)}".utf8)).object)
    do {
      _ = try Families.describe(config: config, file: "config.json", quantisationFile: quantisationFile)
      return ""
    } catch { return "\(error)" }
  }

  @Test(arguments: [
    (#""model_type": "other", \#(fp8)"#, ["\"other\" is not supported", "quantization_config", "supported are"]),
    (#""model_type": "llama", \#(fp8)"#, ["quantised", "prune the original"]),
    (#""model_type": "llama", "quantization": {"group_size": 64, "bits": 4}"#, ["\"quantization\" says", "original"]),
    (#""model_type": "llama", "compression_config": {"format": "x"}"#, ["compression_config", "prune the original"]),
    (
      #""model_type": "other", "text_config": {"model_type": "other_text"}, "vision_config": {"a": 1}"#,
      ["multimodal", "\"other_text\") is not supported either"]
    ),
    (
      #""model_type": "other", "text_config": {"model_type": "other_text", \#(fp8)}"#,
      ["multimodal", "not supported either", "quantised"]
    ),
    (
      #""model_type": "llava", "text_config": {"model_type": "mistral"}, "vision_config": {"a": 1}, \#(fp8)"#,
      ["multimodal", "(mistral) is one of them", "original", "quantization_config"]
    ),
    (#""model_type": "gemma3", "text_config": {"hidden_size": 8}"#, ["multimodal", "(gemma3_text) is one of them"]),
    (
      #""model_type": "omni", "thinker_config": {"text_config": {"model_type": "qwen3"}}"#,
      ["multimodal", "(qwen3) is one of them"]
    ),
    (#""model_type": "qwen2", "vision_config": {"a": 1}"#, ["multimodal", "(qwen2)"]),
    (#""vision_config": {"a": 1}"#, ["model_type"]),
    (#""model_type": "llama", "text_config": 3"#, ["text_config", "an object"]),
  ]) func oneMessageSaysEverything(_ fields: String, _ words: [String]) throws {
    let found = try message(fields)
    for word in words { #expect(found.contains(word), "\(found)") }
  }

  /// Nobody is sent to fetch the original weights of a model that would be refused all the same.
  @Test func originalsOfUnsupportedTypesAreNotAskedFor() throws {
    for more in ["", #", "vision_config": {"a": 1}"#] {
      let found = try message(#""model_type": "other", \#(Self.fp8)\#(more)"#)
      #expect(!found.contains("original"), "\(found)")
    }
  }

  @Test func emptySectionsAreAbsent() throws {
    let found = try message(
      #""model_type": "llama", "quantization_config": {}, "vision_config": {}, "text_config": {}"#)
    // What is wrong then is the config itself.
    #expect(found.contains("num_hidden_layers"), "\(found)")
  }

  @Test func modelOptimizersFileCounts() throws {
    try withTemporaryDirectory { directory in
      let golden = Golden.root + "/Tests/Goldens/dense/llama2"
      try FileManager.default.copyItem(atPath: golden, toPath: directory + "/model")
      #expect(try Families.describe(directory: directory + "/model").family == "llama")
      try Data(#"{"quantization": {"quant_algo": "NVFP4"}}"#.utf8).write(
        to: URL(fileURLWithPath: directory + "/model/hf_quant_config.json"))
      for open in [
        { _ = try Families.describe(directory: directory + "/model") },
        { _ = try SourceModel(directory: directory + "/model") },
      ] {
        let error = #expect(throws: ModelError.self) { try open() }
        #expect(error?.description.contains("hf_quant_config.json") == true)
        #expect(error?.description.contains("quantised") == true)
      }
    }
  }
}
