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
      isReadable = !kinds.isEmpty && kinds.allSatisfy(\.isReadable)
      let scheme =
        switch kinds.map(\.name).sorted().last {
        case "int4": "W4A16"
        case "int8": "W8A16"
        case "float4": "NVFP4"
        default: "FP8_DYNAMIC"
        }
      wayBack = "llm-compressor's scheme \(scheme)"
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
  private static func kinds(_ object: JSON.Object) -> [(name: String, isReadable: Bool)] {
    (object["config_groups"]?.object ?? JSON.Object()).map { _, group in
      let (type, bits) = (group["weights"]?["type"]?.string ?? "?", group["weights"]?["num_bits"]?.int ?? 0)
      let size = group["weights"]?["group_size"]?.int
      let format = group["format"]?.string ?? object["format"]?.string
      let isPacked =
        format == "pack-quantized" && [4, 8].contains(bits) && group["weights"]?["symmetric"]?.bool != false
      return (
        "\(type)\(bits)", type == "float" && (bits == 8 || bits == 4 && size == 16) || type == "int" && isPacked
      )
    }
  }

  /// Bits of the integers of compressed-tensors' groups; nil where there are none, or several kinds.
  private static func bits(_ object: JSON.Object) -> Int? {
    let kinds = Set(kinds(object).map(\.name)).filter { $0.hasPrefix("int") }
    return kinds.count == 1
      ? kinds.first.flatMap { Int($0.dropFirst(3)) }.flatMap { [4, 8].contains($0) ? $0 : nil } : nil
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
      block: (object["weight_block_size"] ?? groups.first)?.array?.compactMap(\.int), bits: bits(object))
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
