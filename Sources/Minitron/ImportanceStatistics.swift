import Foundation
public import JSON
public import Models

// Shapes: C channels, E experts, F expert ffn.

/// What importance is made of: sums over rows and micro-batches that add up, wherever the rows were computed.
///
/// Each row's (or micro-batch's) share is rounded to float32, and shares are added in float64. Sums of numbers this short
/// are exact as long as the largest is less than 2²⁹ / rows times the smallest; so they depend neither on the order of rows nor
/// on how rows were divided among walks. Micro-batches must not be divided.
public struct ImportanceStatistics: Sendable, Equatable {
  /// Where activations were looked at.
  public struct Site: Hashable, Sendable, Comparable {
    /// The original layer's 0-based number.
    public let layer: Int
    /// The tap's name; each layer has each tap once.
    public let tap: String

    public init(layer: Int, tap: String) {
      self.layer = layer
      self.tap = tap
    }

    public static func < (a: Site, b: Site) -> Bool { (a.layer, a.tap) < (b.layer, b.tap) }
  }

  /// What is known of a whole layer.
  public struct Layer: Sendable, Equatable {
    /// `1 − cos` of input and output: means over each micro-batch's tokens, added up.
    public fileprivate(set) var distance = 0.0
    public fileprivate(set) var rows = 0
    public fileprivate(set) var microBatches = 0
  }

  /// What is known of a layer's routed experts.
  public struct Experts: Sendable, Equatable {
    /// For each expert the L2 norms of its weighted outputs, over all tokens.
    public fileprivate(set) var norms: [Double] = []
    /// For each expert the tokens that went to it.
    public fileprivate(set) var counts: [Int] = []
    /// Σ over micro-batches of (mean |x|)² of each channel: one list for all experts together, or one an expert. Empty where
    /// no token went.
    public fileprivate(set) var squares: [[Double]] = []
  }

  /// Σ over rows of (mean |x|)², C numbers a site.
  public private(set) var channels: [Site: [Double]] = [:]
  public private(set) var layers: [Int: Layer] = [:]
  public private(set) var experts: [Int: Experts] = [:]
  /// Second moments of the residual stream, where they were asked for: `StreamMoments.packed`.
  public var stream: [Double] = []

  public init() {}

  private static func rounded(_ value: Double) -> Double { Double(Float(value)) }

  private static func add(_ values: [Double], to sums: inout [Double], _ what: @autoclosure () -> String) throws {
    if sums.isEmpty { sums = Array(repeating: 0, count: values.count) }
    guard sums.count == values.count || values.isEmpty else {
      throw ModelError("\(what()): statistics of \(values.count) numbers cannot be added to those of \(sums.count)")
    }
    for (index, value) in values.enumerated() { sums[index] += value }
  }

  /// Adds sums over some rows of float32 squares of means.
  ///
  /// - Throws: `ModelError` when the site has another number of channels.
  public mutating func add(_ squares: [Double], at site: Site) throws {
    try Self.add(squares, to: &channels[site, default: []], "layer \(site.layer + 1), \(site.tap)")
  }

  /// Adds a micro-batch of a layer.
  ///
  /// - Parameters:
  ///   - distance: the mean of `1 − cos` over its tokens.
  ///   - rows: how many it has.
  public mutating func addMicroBatch(layer: Int, distance: Double, rows: Int) {
    layers[layer, default: Layer()].distance += Self.rounded(distance)
    layers[layer, default: Layer()].rows += rows
    layers[layer, default: Layer()].microBatches += 1
  }

  /// Replaces the sum of a layer's distances by one that was kept elsewhere.
  mutating func setDistance(layer: Int, _ distance: Double) { layers[layer, default: Layer()].distance = distance }

  /// Drops the sums of channels, which the caller keeps.
  mutating func removeChannels() { channels = [:] }

  /// Adds a micro-batch at a layer's experts.
  ///
  /// - Throws: `ModelError` when there are other numbers of experts or channels than before.
  public mutating func add(_ sums: ExpertSums, layer: Int, channels ranking: ExpertChannels) throws {
    var means = Experts()
    means.norms = sums.norms.map(Self.rounded)
    means.counts = sums.counts
    func squares(_ totals: [Double], _ rows: Int) -> [Double] {
      totals.map { total in
        let mean = total / Double(max(rows, 1))
        return Self.rounded(mean * mean)
      }
    }
    switch ranking {
    case .own:
      // Without tokens in this micro-batch there is no mean to add.
      means.squares = zip(sums.channels, sums.counts).map { squares($0, $1) }
    case .shared:
      var total: [Double] = []
      for values in sums.channels where !values.isEmpty {
        try Self.add(values, to: &total, "layer \(layer + 1), experts")
      }
      means.squares = [squares(total, sums.counts.reduce(0, +))]
    }
    try merge(means, layer: layer)
  }

  private mutating func merge(_ other: Experts, layer: Int) throws {
    var own = experts[layer] ?? Experts()
    let what = "layer \(layer + 1), experts"
    try Self.add(other.norms, to: &own.norms, what)
    if own.counts.isEmpty { own.counts = Array(repeating: 0, count: other.counts.count) }
    if own.squares.isEmpty { own.squares = Array(repeating: [], count: other.squares.count) }
    guard own.counts.count == other.counts.count, own.squares.count == other.squares.count else {
      throw ModelError("\(what): statistics of other numbers of experts cannot be added")
    }
    for (index, count) in other.counts.enumerated() { own.counts[index] += count }
    for (index, squares) in other.squares.enumerated() where !squares.isEmpty {
      try Self.add(squares, to: &own.squares[index], what)
    }
    experts[layer] = own
  }

  /// Adds what another walk saw of other rows.
  ///
  /// - Throws: `ModelError` when it saw a model of other sizes.
  public mutating func merge(_ other: ImportanceStatistics) throws {
    for (site, sums) in other.channels { try add(sums, at: site) }
    for (layer, sums) in other.layers {
      layers[layer, default: Layer()].distance += sums.distance
      layers[layer, default: Layer()].rows += sums.rows
      layers[layer, default: Layer()].microBatches += sums.microBatches
    }
    for (layer, sums) in other.experts { try merge(sums, layer: layer) }
    try Self.add(other.stream, to: &stream, "the residual stream")
  }
}

// How statistics are written and read again: bit for bit, so that a walk can go on from them.
extension ImportanceStatistics {
  public var json: JSON {
    .object(
      (stream.isEmpty ? [] : [("stream", Self.bits(stream))]) + [
        (
          "channels",
          .array(
            channels.sorted { $0.key < $1.key }.map { site, sums in
              .object([("layer", .int(site.layer)), ("tap", .text(site.tap)), ("sums", Self.bits(sums))])
            })
        ),
        (
          "layers",
          .array(
            layers.sorted { $0.key < $1.key }.map { layer, sums in
              .object([
                ("layer", .int(layer)), ("distance", Self.bits([sums.distance])), ("rows", .int(sums.rows)),
                ("micro_batches", .int(sums.microBatches)),
              ])
            })
        ),
        (
          "experts",
          .array(
            experts.sorted { $0.key < $1.key }.map { layer, sums in
              .object([
                ("layer", .int(layer)), ("norms", Self.bits(sums.norms)), ("counts", .array(sums.counts.map(JSON.int))),
                ("squares", .array(sums.squares.map(Self.bits))),
              ])
            })
        ),
      ])
  }

  /// Reads what `json` wrote.
  ///
  /// - Throws: `ModelError` when it is anything else.
  public init(parsing json: JSON) throws {
    func need<T>(_ value: T?) throws -> T {
      guard let value else { throw ModelError("the statistics are not as they were written") }
      return value
    }
    if let moments = json["stream"] { stream = try need(Self.doubles(moments)) }
    for entry in try need(json["channels"]?.array) {
      let site = Site(layer: try need(entry["layer"]?.int), tap: try need(entry["tap"]?.string))
      channels[site] = try need(Self.doubles(entry["sums"]))
    }
    for entry in try need(json["layers"]?.array) {
      layers[try need(entry["layer"]?.int)] = Layer(
        distance: try need(Self.doubles(entry["distance"])?.first), rows: try need(entry["rows"]?.int),
        microBatches: try need(entry["micro_batches"]?.int))
    }
    for entry in try need(json["experts"]?.array) {
      experts[try need(entry["layer"]?.int)] = Experts(
        norms: try need(Self.doubles(entry["norms"])),
        counts: try need(entry["counts"]?.array).map { try need($0.int) },
        squares: try need(entry["squares"]?.array).map { try need(Self.doubles($0)) })
    }
  }

  /// The bytes of float64 numbers, little-endian, in base64.
  static func bits(_ values: [Double]) -> JSON { PackedNumbers.json(values.map(\.bitPattern.littleEndian)) }

  static func doubles(_ json: JSON?) -> [Double]? {
    let words: [UInt64]? = PackedNumbers.words(json)
    return words?.map { Double(bitPattern: UInt64(littleEndian: $0)) }
  }
}

/// Numbers as the base64 of their bytes, bit for bit.
enum PackedNumbers {
  static func json(_ words: [some FixedWidthInteger & BitwiseCopyable]) -> JSON {
    .text(words.withUnsafeBytes { Data($0) }.base64EncodedString())
  }

  static func words<Word: FixedWidthInteger & BitwiseCopyable>(_ json: JSON?) -> [Word]? {
    guard let text = json?.string, let bytes = Data(base64Encoded: text),
      bytes.count % MemoryLayout<Word>.size == 0
    else { return nil }
    return bytes.withUnsafeBytes { bytes in
      (0..<bytes.count / MemoryLayout<Word>.size).map {
        bytes.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Word>.size, as: Word.self)
      }
    }
  }

  /// Float32 numbers, little-endian.
  static func json(_ values: [Float]) -> JSON { json(values.map(\.bitPattern.littleEndian)) }

  static func floats(_ json: JSON?) -> [Float]? {
    let words: [UInt32]? = words(json)
    return words?.map { Float(bitPattern: UInt32(littleEndian: $0)) }
  }
}
