import Foundation
import JSON
import Models
import TestSupport
import Testing

/// What keeps a checkpoint from being read is said at once, the type of its text model first.
@Suite struct ObstaclesTests {
  private static let gptq = #""quantization_config": {"quant_method": "gptq"}"#
  private static let fp8 = #""quantization_config": {"quant_method": "fp8"}"#

  private func message(_ fields: String) throws -> String {
    let config = try #require(JSON(parsing: Array("{\(fields)}".utf8)).object)
    do {
      _ = try Families.describe(config: config, file: "config.json")
      return ""
    } catch { return "\(error)" }
  }

  @Test(arguments: [
    (#""model_type": "other", \#(gptq)"#, ["\"other\" is not supported", "quantization_config", "supported are"]),
    (#""model_type": "llama", \#(gptq)"#, ["quantised (gptq)", "prune the original", "base_model", "NVFP4"]),
    (
      #""model_type": "llama", "quantization_config": {"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}"#,
      ["quantised (W4A16_AWQ (Model-Optimizer))", "prune the original"]
    ),
    (
      #""model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"type": "int", "num_bits": 4}}}}"#,
      ["quantised (int4, compressed-tensors)", "prune the original"]
    ),
    (
      #""model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {"weights": {"type": "int", "num_bits": 4}}, "b": {"weights": {"type": "int", "num_bits": 8}}}}"#,
      ["quantised (int4, int8, compressed-tensors)", "prune the original"]
    ),
    (
      #""model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"a": {"weights": {"type": "int", "num_bits": 4, "symmetric": false}}}}"#,
      ["quantised (int4, compressed-tensors)", "prune the original"]
    ),
    (#""model_type": "llama", "quantization": {"group_size": 64, "bits": 4}"#, ["\"quantization\" says", "original"]),
    (#""model_type": "llama", "compression_config": {"format": "x"}"#, ["compression_config", "prune the original"]),
    (
      #""model_type": "other", "text_config": {"model_type": "other_text"}, "vision_config": {"a": 1}"#,
      ["multimodal", "\"other_text\") is not supported either"]
    ),
    (
      #""model_type": "other", "text_config": {"model_type": "other_text", \#(gptq)}"#,
      ["multimodal", "not supported either", "quantised"]
    ),
    (
      #""model_type": "seeing", "text_config": {"model_type": "mistral"}, "vision_config": {"a": 1}, \#(gptq)"#,
      ["multimodal", "(mistral) is one of them", "original", "quantization_config"]
    ),
    (
      #""model_type": "llava", "text_config": {"model_type": "mistral", \#(gptq)}, "vision_config": {"a": 1}"#,
      ["quantised (gptq)"]
    ),
    (
      #""model_type": "llava", "text_config": {"model_type": "gemma2"}, "vision_config": {"hidden_size": 8}"#,
      ["\"gemma2\" language model is not supported in a llava checkpoint", "qwen2"]
    ),
    (
      #""model_type": "qwen3_vl", "text_config": {}, "vision_config": {}, "audio_config": {"a": 1}"#,
      ["multimodal", "audio_config"]
    ),
    (#""model_type": "gemma3", "text_config": {"hidden_size": 8}"#, ["vision_config"]),
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
      let found = try message(#""model_type": "other", \#(Self.gptq)\#(more)"#)
      #expect(!found.contains("original"), "\(found)")
    }
  }

  /// What is bfloat16 on arrival is no obstacle.
  @Test(arguments: [
    fp8, #""quantization_config": {"quant_method": "mxfp4"}"#,
    #""quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}"#,
    #""quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"type": "float", "num_bits": 8}}}}"#,
  ]) func formatsThatAreReadAreNoObstacle(_ said: String) throws {
    let found = try message(#""model_type": "llama", \#(said)"#)
    #expect(found.contains("num_hidden_layers") && !found.contains("quantised"), "\(found)")
  }

  @Test func emptySectionsAreAbsent() throws {
    let found = try message(
      #""model_type": "llama", "quantization_config": {}, "vision_config": {}, "text_config": {}"#)
    // What is wrong then is the config itself.
    #expect(found.contains("num_hidden_layers"), "\(found)")
  }

  /// `transformers` turns a part of the heads for a field that its class does not have.
  @Test func aPartOfLatentHeadsIsRefused() throws {
    var config = try #require(Golden.json(Golden.root + "/Tests/Goldens/moe/glm4_moe_lite/config.json").object)
    config["partial_rotary_factor"] = .double(0.5)
    let error = #expect(throws: ModelError.self) { _ = try Families.describe(config: config, file: "config.json") }
    #expect(error?.description.contains("\"partial_rotary_factor\" should be 1") == true)
    config["partial_rotary_factor"] = .int(1)
    _ = try Families.describe(config: config, file: "config.json")
  }

  @Test func modelOptimizersFileCounts() throws {
    try withTemporaryDirectory { directory in
      let golden = Golden.root + "/Tests/Goldens/dense/llama2"
      try FileManager.default.copyItem(atPath: golden, toPath: directory + "/model")
      #expect(try Families.describe(directory: directory + "/model").family == "llama")
      try Data(#"{"quantization": {"quant_algo": "INT4_AWQ"}}"#.utf8).write(
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
