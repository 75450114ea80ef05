extension ModelDescription {
  /// Parameters believed, in all: more than any published model a thousand times over, and its bytes fit 64 bits.
  static let largestParameterCount = 1 << 46
  /// Elements kept between tokens believed, for one token in all layers.
  static let largestCacheOfOneToken = 1 << 30

  /// Refuses sizes that are possible one by one and absurd together, so that nothing later has to fear overflow.
  ///
  /// - Throws: `ModelError` naming the weight that is too large, or the sum.
  func checkSizes(file: String) throws {
    func tooLarge(_ what: String) -> ModelError {
      ModelError("\(file): \(what) would be larger than any model is: check the sizes in it")
    }
    var total = 0
    func check(_ weight: Weight, _ sizes: Sizes) throws {
      guard let count = weight.countIfReasonable(sizes) else {
        let factors = weight.axes.flatMap(\.segments).joined().map { "\($0.name) \(sizes[$0])" }
        throw tooLarge("\(weight.name) (\(factors.joined(separator: " × ")))")
      }
      total += count
      guard total <= Self.largestParameterCount else { throw tooLarge("the model") }
    }
    for weight in outerWeights { try check(weight, sizes) }
    var cache = 0
    for (layer, description) in layers.enumerated() {
      let sizes = sizes(inLayer: layer)
      for weight in description.weights { try check(weight, sizes) }
      for sublayer in description.sublayers {
        let own = sublayer.block.cacheElements(rows: 1, tokens: 1, sizes: sizes)
        cache = min(cache + own, Self.largestCacheOfOneToken + 1)
      }
    }
    guard cache <= Self.largestCacheOfOneToken else { throw tooLarge("the cache of one token") }
  }
}

extension Weight {
  /// Elements; nil above what any model has.
  fileprivate func countIfReasonable(_ sizes: Sizes) -> Int? {
    func product(_ a: Int, _ b: Int) -> Int? {
      let (value, overflow) = a.multipliedReportingOverflow(by: b)
      return overflow || value > ModelDescription.largestParameterCount ? nil : value
    }
    var count = 1
    for axis in axes {
      var length = 0
      for segment in axis.segments {
        var part = 1
        for dimension in segment {
          guard let value = product(part, sizes[dimension]) else { return nil }
          part = value
        }
        length += part
      }
      guard let value = product(count, length) else { return nil }
      count = value
    }
    return count
  }
}
