/// Sizes and the config fields that hold them. Each is declared once: read from the config here, and written back under
/// the same key when it has changed.
public struct DeclaredSizes: Sendable {
  public let config: ConfigReader
  /// The config as it is in the file.
  let original: ConfigReader
  public private(set) var sizes = Sizes([:])
  /// By layer (0-based) the sizes that are its own.
  public private(set) var layers: [Int: Sizes] = [:]
  /// Config keys that hold a dimension's size, in the order in which absent ones are added.
  public private(set) var fields: [(key: String, dimension: Dimension)] = []

  /// - Parameters:
  ///   - original: the config as it is in the file, where `config` is one with today's names in it.
  ///   - config: the config.
  public init(_ config: ConfigReader, original: ConfigReader? = nil) {
    self.config = config
    self.original = original ?? config
  }

  /// A size of the model, 0 where it has none; set for what follows from other fields.
  public subscript(dimension: Dimension) -> Int {
    get { sizes[dimension] }
    set { sizes[dimension] = newValue }
  }

  /// The size in a layer (0-based): its own, else the model's.
  public subscript(dimension: Dimension, inLayer layer: Int) -> Int {
    get { sizes.replacing(layers[layer])[dimension] }
    set { layers[layer, default: Sizes([:])][dimension] = newValue }
  }

  /// Reads a size and declares the field that holds it.
  ///
  /// - Parameters:
  ///   - fallback: when the config does not say; nil for a field that has to be there.
  ///   - dimension: what it is the size of.
  ///   - key: the field.
  ///   - most: the largest size believed.
  /// - Returns: the size.
  /// - Throws: `ModelError` naming the field.
  @discardableResult
  public mutating func read(
    _ dimension: Dimension, _ key: String, default fallback: Int? = nil, atMost most: Int = ConfigReader.largestSize
  ) throws -> Int {
    try read(dimension, anyOf: [key], default: fallback, atMost: most)
  }

  /// The same of a field with several spellings: the first one there is read, all that are there are written.
  ///
  /// - Parameters:
  ///   - keys: the usual spelling first, which is written where none is there.
  ///   - most: the largest size believed.
  ///   - dimension: what it is the size of.
  ///   - fallback: when the config does not say; nil for a field that has to be there.
  @discardableResult
  public mutating func read(
    _ dimension: Dimension, anyOf keys: [String], default fallback: Int? = nil,
    atMost most: Int = ConfigReader.largestSize
  ) throws -> Int {
    guard let usual = keys.first else { return 0 }
    let value = try config.size(keys.first(where: config.has) ?? usual, default: fallback, atMost: most)
    sizes[dimension] = value
    fields += keys.filter { config.has($0) || $0 == usual }.map { ($0, dimension) }
    return value
  }
}

extension DeclaredSizes {
  /// Reads the heads of grouped-query attention and those of its keys and values, which have to divide them.
  ///
  /// - Parameters:
  ///   - fallback: heads when the config does not say; nil for a field that has to be there.
  ///   - keys: key-value heads when the config does not say; nil: as many as heads.
  /// - Returns: the number of heads.
  /// - Throws: `ModelError` naming the fields.
  @discardableResult
  mutating func readHeads(default fallback: Int? = nil, keys: Int? = nil) throws -> Int {
    let heads = try read(.heads, "num_attention_heads", default: fallback)
    let kvHeads = try read(.kvHeads, "num_key_value_heads", default: keys ?? heads)
    guard heads % kvHeads == 0 else {
      throw ModelError(
        "\(config.file): num_attention_heads (\(heads)) should be a multiple of num_key_value_heads (\(kvHeads))")
    }
    return heads
  }
}
