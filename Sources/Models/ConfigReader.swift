public import JSON

/// Typed access to a `config.json`: a field of the wrong type or out of range is an error that names it.
public struct ConfigReader: Sendable {
  public let object: JSON.Object
  /// The whole config, and the keys that lead to `object` in it.
  public let root: JSON.Object
  public let path: [String]
  /// What the names of the model's weights begin with, its output head aside.
  public let weightPrefix: String
  /// What fields have that are not there.
  private let defaults: JSON.Object
  /// The path of the file, for messages.
  public let file: String
  /// The largest size believed. Products of a few such numbers still fit 64 bits.
  public static let largestSize = 1 << 24
  /// The largest number of layers believed: each is described one by one.
  public static let largestLayerCount = 1 << 12

  public init(_ object: JSON.Object, file: String) {
    self.init(object, file: file, root: object, path: [], weightPrefix: "model.", defaults: JSON.Object())
  }

  private init(
    _ object: JSON.Object, file: String, root: JSON.Object, path: [String], weightPrefix: String, defaults: JSON.Object
  ) {
    self.object = object
    self.defaults = defaults
    self.file = file
    self.root = root
    self.path = path
    self.weightPrefix = weightPrefix
  }

  /// The same config read under today's names where it has older ones, which hold where both are there. What is written
  /// is not changed by it: see `DeclaredSizes.init`.
  ///
  /// - Parameter names: pairs of an older name and today's.
  func reading(_ names: KeyValuePairs<String, String>) -> ConfigReader {
    var object = object
    for (older, name) in names {
      if let value = object[older] { object[name] = value }
    }
    return ConfigReader(object, file: file, root: root, path: path, weightPrefix: weightPrefix, defaults: defaults)
  }

  /// The same config without some keys, read so; what is written is not changed by it.
  func without(_ keys: [String]) -> ConfigReader {
    var object = object
    for key in keys { object[key] = nil }
    return ConfigReader(object, file: file, root: root, path: path, weightPrefix: weightPrefix, defaults: defaults)
  }

  /// The language model inside a larger one, for the same family file that reads it alone.
  ///
  /// - Parameters:
  ///   - key: the section that describes it, `text_config`; nil where the fields stand in the config itself.
  ///   - weightPrefix: what its weights' names begin with, `model.language_model.`.
  ///   - defaults: of fields that are not there, where the larger model has others than the family alone.
  /// - Throws: `ModelError` when there is no such section.
  public func tower(
    _ key: String?, weightPrefix: String, defaults: JSON.Object = JSON.Object()
  ) throws -> ConfigReader {
    guard let key else {
      return ConfigReader(
        object, file: file, root: root, path: path, weightPrefix: weightPrefix, defaults: defaults)
    }
    guard let section = try section(key) else { throw wrong(key, "an object", object[key]) }
    return ConfigReader(
      section.object, file: section.file, root: root, path: path + [key], weightPrefix: weightPrefix,
      defaults: defaults)
  }

  /// What a field has, or has by default; nil for nothing.
  private func value(_ key: String) -> JSON? { has(key) ? object[key] : defaults[key] }

  /// Whether something stands under a key: null and an empty object are as good as nothing.
  public func has(_ key: String) -> Bool { object[key].map { !$0.isNull && $0.object?.count != 0 } ?? false }

  /// A default that holds where a key is absent, and not where it is null.
  func unlessNull<Value>(_ key: String, _ value: Value) -> Value? { object[key] == nil ? value : nil }

  private func wrong(_ key: String, _ expected: String, _ found: JSON?) -> ModelError {
    let what = found.map { $0.isNull ? "null" : "\($0.kind): \($0.serialized().prefix(60))" } ?? "nothing"
    return ModelError("\(file): \"\(key)\" should be \(expected), found \(what)")
  }

  /// A size: an integer from 1 to `largestSize`. Null counts as absent.
  public func size(
    _ key: String, default fallback: Int? = nil, atLeast least: Int = 1, atMost most: Int = largestSize
  ) throws -> Int {
    guard let value = value(key) else {
      if let fallback { return fallback }
      throw wrong(key, "an integer of at least \(least)", object[key])
    }
    guard let number = value.int, number >= least, number <= most else {
      throw wrong(key, "an integer from \(least) to \(most)", value)
    }
    return number
  }

  /// A number of layers: from 1 to `largestLayerCount`.
  public func layerCount(_ key: String) throws -> Int { try size(key, atMost: Self.largestLayerCount) }

  public func optionalSize(_ key: String) throws -> Int? { value(key) == nil ? nil : try size(key) }

  /// A finite number.
  public func number(_ key: String, default fallback: Double? = nil) throws -> Double {
    guard let value = value(key) else {
      if let fallback { return fallback }
      throw wrong(key, "a number", object[key])
    }
    guard let number = value.double, number.isFinite else { throw wrong(key, "a finite number", value) }
    return number
  }

  public func optionalNumber(_ key: String) throws -> Double? { value(key) == nil ? nil : try number(key) }

  public func positive(_ key: String, default fallback: Double? = nil) throws -> Double {
    let value = try number(key, default: fallback)
    guard value > 0 else { throw wrong(key, "a number above zero", object[key]) }
    return value
  }

  /// An explicit null is false, as in Python's conditions; what is absent has the default.
  public func flag(_ key: String, default fallback: Bool) throws -> Bool {
    if object[key]?.isNull == true { return false }
    guard let value = value(key) else { return fallback }
    guard let flag = value.bool else { throw wrong(key, "true or false", value) }
    return flag
  }

  public func string(_ key: String, default fallback: String? = nil) throws -> String {
    guard let value = value(key) else {
      if let fallback { return fallback }
      throw wrong(key, "a string", object[key])
    }
    guard let string = value.string else { throw wrong(key, "a string", value) }
    return string
  }

  /// A list with one string a layer.
  public func optionalStrings(_ key: String, count: Int) throws -> [String]? {
    guard has(key), let value = object[key] else { return nil }
    guard let strings = value.array?.map(\.string), strings.count == count else {
      throw wrong(key, "a list of \(count) strings, one a layer", value)
    }
    return try strings.map { string in
      guard let string else { throw wrong(key, "a list of \(count) strings, one a layer", value) }
      return string
    }
  }

  /// A list of 0-based numbers of layers; nil where there is none.
  func layerNumbers(_ key: String) throws -> Set<Int>? {
    guard let value = object[key], !value.isNull else { return nil }
    let numbers = value.array?.compactMap(\.int) ?? []
    guard let list = value.array, numbers.count == list.count else {
      throw wrong(key, "a list of layer numbers from 0 on", value)
    }
    return Set(numbers)
  }

  /// A list of numbers above zero.
  func positives(_ key: String, count: Int) throws -> [Double] {
    let numbers = object[key]?.array?.map(\.double) ?? []
    let positive = numbers.compactMap { $0.flatMap { $0.isFinite && $0 > 0 ? $0 : nil } }
    guard positive.count == count, numbers.count == count else {
      throw wrong(key, "a list of \(count) numbers above zero", object[key])
    }
    return positive
  }

  /// A nested object; nil when absent or null.
  public func section(_ key: String) throws -> ConfigReader? {
    guard has(key), let value = object[key] else { return nil }
    guard let object = value.object else { throw wrong(key, "an object", value) }
    return ConfigReader(object, file: "\(file), \"\(key)\"")
  }
}
