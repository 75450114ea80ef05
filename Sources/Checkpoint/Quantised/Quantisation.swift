import Files
public import JSON

/// What a checkpoint's config says about how its weights are quantised, and whether they are read: what can be is bfloat16 on arrival.
public struct Quantisation: Sendable, Equatable {
  /// Where it is said, for messages.
  public let place: String
  /// The method, and the format of the weights as far as it is said.
  public let name: String
  /// Whether weights of this kind are read.
  public let isReadable: Bool
  /// How to quantise a result in the same way; nil where that is not known.
  public let wayBack: String?

  /// Keys of configs; the last is MLX's.
  private static let keys = ["quantization_config", "compression_config", "quantization"]
  /// Sections of configs that hold a language model's.
  package static let textSections = ["text_config", "llm_config", "language_config"]

  /// What the config says, else what the file beside it does; nil where neither says anything.
  ///
  /// - Parameters:
  ///   - config: a checkpoint's.
  ///   - directory: where `hf_quant_config.json` of Model-Optimizer may be; nil for nowhere.
  public init?(_ config: JSON.Object, directory: String? = nil) {
    let found = Self.said(config)
    let file = directory.flatMap { CheckpointReader.quantisationFile(directory: $0) }
    if let found {
      self.init(found.object, place: "\"\(found.key)\"" + (file.map { " and \($0) beside it" } ?? ""), key: found.key)
    } else if let file, let directory {
      let object = (try? WholeFile.object(join(directory, file))) ?? JSON.Object()
      self.init(object["quantization"]?.object ?? object, place: "\(file) beside it", key: "modelopt")
    } else {
      return nil
    }
  }

  private init(_ object: JSON.Object, place: String, key: String) {
    self.place = place
    let method = object["quant_method"]?.string ?? (key == "quantization" ? "mlx" : key)
    switch method {
    case "fp8", "fbgemm_fp8":
      (name, isReadable) = ("FP8 (\(method))", true)
      wayBack = "FineGrainedFP8Config of transformers"
    case "mxfp4":
      (name, isReadable) = ("MXFP4", true)
      wayBack = "Mxfp4Config of transformers"
    case "modelopt", "modelopt_fp4":
      let algorithms = Self.algorithms(object)
      name = algorithms.joined(separator: " and ") + " (Model-Optimizer)"
      isReadable =
        !algorithms.isEmpty
        && algorithms.allSatisfy(["FP8", "NVFP4", "FP8_PB_WO", "FP8_PER_CHANNEL_PER_TOKEN"].contains)
      let format = algorithms.contains("NVFP4") ? "nvfp4" : "fp8"
      wayBack = "Model-Optimizer's examples/llm_ptq/hf_ptq.py with its format \(format)"
    case "compressed-tensors", "compression_config":
      let kinds = Self.kinds(object)
      name = (kinds.map(\.name).sorted() + [method]).joined(separator: ", ")
      // Words do not say how many bits their numbers have.
      isReadable =
        !kinds.isEmpty && kinds.allSatisfy(\.isReadable) && Set(kinds.compactMap(\.packedBits)).count <= 1
      let schemes = ["float4": "NVFP4", "int4": "W4A16", "int8": "W8A16"]
      wayBack = "llm-compressor's scheme \(kinds.compactMap { schemes[$0.name] }.min() ?? "FP8_DYNAMIC")"
    default: (name, isReadable, wayBack) = (method, false, nil)
    }
  }

  /// Model-Optimizer's names of formats.
  private static func algorithms(_ object: JSON.Object) -> [String] {
    let one = object["quant_algo"]?.string
    let layers = (object["quantized_layers"]?.object ?? JSON.Object()).compactMap { $0.value["quant_algo"]?.string }
    return one == "MIXED_PRECISION" ? Set(layers).sorted() : (one.map { [$0] } ?? [])
  }

  /// The kinds of weights of compressed-tensors' groups.
  private static func kinds(_ object: JSON.Object) -> [(name: String, isReadable: Bool, packedBits: Int?)] {
    (object["config_groups"]?.object ?? JSON.Object()).map { _, group in
      let weights = group["weights"]
      let (type, bits) = (weights?["type"]?.string ?? "?", weights?["num_bits"]?.int ?? 0)
      let isFloat = type == "float" && (bits == 8 || bits == 4 && weights?["group_size"]?.int == 16)
      let format = group["format"]?.string ?? object["format"]?.string
      let isPacked =
        type == "int" && [4, 8].contains(bits) && format == "pack-quantized" && weights?["symmetric"]?.bool != false
      return ("\(type)\(bits)", isFloat || isPacked, isPacked ? bits : nil)
    }
  }

  private static func said(_ config: JSON.Object) -> (key: String, object: JSON.Object)? {
    for key in keys {
      for part in [config] + textSections.compactMap({ config[$0]?.object }) {
        if let object = part[key]?.object, object.count > 0 { return (key, object) }
      }
    }
    return nil
  }

  /// What the config says about how values and scales lie.
  static func layout(of config: JSON.Object) -> QuantisedLayout {
    guard let object = said(config)?.object else { return QuantisedLayout() }
    let groups = (object["config_groups"]?.object ?? JSON.Object()).compactMap {
      $0.value["weights"]?["block_structure"]
    }
    return QuantisedLayout(
      block: (object["weight_block_size"] ?? groups.first)?.array?.compactMap(\.int),
      bits: kinds(object).compactMap(\.packedBits).first)
  }

  /// The config without what it says about quantisation.
  public static func removed(from config: JSON.Object) -> JSON.Object {
    var config = config
    for key in keys where config[key]?.object != nil { config[key] = nil }
    for section in textSections {
      guard var part = config[section]?.object, keys.contains(where: { part[$0]?.object != nil }) else { continue }
      for key in keys where part[key]?.object != nil { part[key] = nil }
      config[section] = .object(part)
    }
    return config
  }
}
