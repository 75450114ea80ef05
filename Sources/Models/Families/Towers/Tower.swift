public import JSON

/// A language model inside a larger checkpoint, beside an encoder of images: where it is, what is carried along unchanged, and
/// which weights outside it have an axis of its residual stream.
public struct Tower {
  /// The section of the config that describes it; nil where the config's own fields do.
  public var section: String? = "text_config"
  /// What the names of its weights begin with in published checkpoints, and in others.
  public var prefix: String
  public var otherPrefixes: [String] = []
  /// Names of the output head, the published one first.
  public var heads = ["lm_head.weight"]
  /// What the names of tensors begin with that are carried along.
  public var carried: [String]
  /// Beginnings of names that stand for those of `outputs`.
  public var spellings: [(other: String, own: String)] = []
  /// Weights outside with an axis of `hidden_size`: what a projector ends in.
  public var outputs: [Weight] = []
  /// Sizes that these have besides, by the name of the dimension.
  public var widths: [(dimension: Dimension, size: Int)] = []
  /// Fields of the whole config that say how wide the projector's outputs are.
  public var fields: [[String]] = []
  /// Whether the head is the embedding when neither the config nor its section says.
  public var isTied = false

  public init(prefix: String, carried: [String]) { (self.prefix, self.carried) = (prefix, carried) }

  /// The larger model's description.
  ///
  /// - Parameters:
  ///   - config: the larger model's.
  ///   - defaults: of fields that its section does not have.
  ///   - describe: describes the language model by its section.
  /// - Throws: `ModelError` naming the field that is wrong.
  public func describe(
    _ config: ConfigReader, defaults: JSON.Object = JSON.Object(),
    _ describe: (ConfigReader) throws -> ModelDescription
  ) throws -> ModelDescription {
    let text = try config.tower(section, weightPrefix: prefix, defaults: defaults)
    let inner = try describe(text)
    // Older files have it in the section alone.
    let isTied = try config.flag("tie_word_embeddings", default: text.flag("tie_word_embeddings", default: isTied))
    var model = inner.inside(
      try config.string("model_type"),
      names: TensorNames(
        prefix: prefix, otherPrefixes: otherPrefixes, spellings: spellings, heads: heads, buffers: inner.names.buffers),
      isTied: isTied, fields: fields.map { ($0, .hidden) })
    model.others = outputs
    model.carriedPrefixes = carried
    for weight in outputs {
      for dimension in weight.axes.flatMap(\.dimensions) where dimension.leader != nil {
        model.followers[dimension] = Array(0..<model.sizes[dimension])
      }
    }
    return widths.reduce(model) { $0.withSize($1.size, of: $1.dimension) }
  }

  /// The projector of LLaVA: two linear maps with an activation between them, where there are as many channels as in the stream.
  ///
  /// - Parameters:
  ///   - prefix: what the names of its tensors begin with.
  ///   - width: of what the first map reads.
  ///   - bias: whether the maps have biases.
  public mutating func addProjector(_ prefix: String, width: Int, bias: Bool) {
    let (inner, outer) = (Axis(Self.inner), Axis(Self.width))
    outputs.append(Weight(prefix + ".linear_1.weight", [inner, outer]))
    if bias { outputs.append(Weight(prefix + ".linear_1.bias", [inner])) }
    outputs.append(Weight(prefix + ".linear_2.weight", [.hidden, inner], writes: 0))
    if bias { outputs.append(Weight(prefix + ".linear_2.bias", [.hidden], writes: 0)) }
    widths.append((Self.width, width))
  }

  /// A linear map into the stream.
  ///
  /// - Parameters:
  ///   - name: of the map, without what it holds.
  ///   - width: of what it reads.
  ///   - bias: whether it has one.
  public mutating func addOutput(_ name: String, width: Int, bias: Bool = true) {
    outputs.append(Weight(name + ".weight", [.hidden, Axis(Self.width)], writes: 0))
    if bias { outputs.append(Weight(name + ".bias", [.hidden], writes: 0)) }
    if widths.isEmpty { widths.append((Self.width, width)) }
  }

  /// The sections of a config with an encoder of images.
  static let sections = ["text_config", "vision_config"]

  /// What a projector reads,
  static let width = Dimension(fixed: "projector_input")
  /// and its channels between two maps.
  static let inner = Dimension("projector_channels", asLargeAs: .hidden)
}

extension ConfigReader {
  /// The section of the encoder of images.
  func vision() throws -> ConfigReader {
    guard let section = try section("vision_config") else {
      throw ModelError("\(file): there is no \"vision_config\" beside the language model's section")
    }
    return section
  }

  /// The section of the language model, or the config itself where older files have its fields there.
  var textSection: String? { has("text_config") ? "text_config" : nil }

  /// How many of an encoder's layers a projector reads at once.
  func featureLayers(_ key: String = "vision_feature_layer") throws -> Int {
    guard let list = object[key]?.array else { return 1 }
    guard !list.isEmpty, list.allSatisfy({ $0.int != nil }) else {
      throw ModelError("\(file): \"\(key)\" should be a number of a layer or a list of them")
    }
    return list.count
  }
}

extension ConfigReader {
  /// The language model in a section, by the family of its type.
  ///
  /// - Throws: `ModelError` when it is none of these.
  func describe(_ text: ConfigReader, by families: [any Family.Type]) throws -> ModelDescription {
    let type = try text.string("model_type")
    guard let family = families.first(where: { $0.modelTypes.contains(type) }) else {
      throw ModelError(
        "\(text.file): a \"\(type)\" language model is not supported in a \(try string("model_type")) checkpoint; supported are "
          + families.flatMap { $0.modelTypes }.joined(separator: ", "))
    }
    return try family.describe(text)
  }

  /// - Throws: `ModelError` where a flag is set that the architecture does not have.
  func refuse(_ key: String, _ reason: String) throws {
    guard try !flag(key, default: false) else { throw ModelError("\(file): \"\(key)\" is set, but \(reason)") }
  }
}

extension JSON.Object {
  /// Defaults of a config class.
  init(type: String, _ sizes: KeyValuePairs<String, Int>) {
    self.init([("model_type", .text(type))] + sizes.map { ($0, .int($1)) })
  }
}

extension Families {
  /// The config of a small model with an encoder of images.
  ///
  /// - Parameters:
  ///   - text: the type of its language model.
  ///   - vision: fields of the encoder's section.
  static func towerSample(_ modelType: String, text: String, vision: KeyValuePairs<String, Int>) -> JSON.Object {
    JSON.Object([
      ("model_type", .text(modelType)),
      ("text_config", .object(family(of: text)?.sample(modelType: text) ?? commonSample(text))),
      ("vision_config", .object(JSON.Object(vision.map { ($0, .int($1)) }))),
    ])
  }
}
