import Checkpoint
import Crypto
public import Execution
import Files
import Foundation
import JSON
public import Minitron
public import Models
public import Torch

/// Refitted weights in files beside kept scores, two for each layer: what they are (a `KeptFile`) and their bytes. A run that was
/// ended goes on with the layers that are whole.
public final class RefitFiles: RefittedWeights, WeightOverlay {
  private let directory: String?
  private let prefix: String
  /// By layer and name: weights of the same name may have other axes in other layers.
  private let known: [Int?: [Weight]]
  /// What was read last: weights are asked for one by one.
  private var last: (layer: Int?, found: (weights: [Weight: Tensor], counts: RefitCounts))?
  /// Without a directory.
  private var inMemory: [Int?: (weights: [Weight: Tensor], counts: RefitCounts)] = [:]

  /// - Parameters:
  ///   - directory: of kept scores; nil to keep everything in memory.
  ///   - fingerprint: what the refit is made of: the scores, the architecture, the layers that are kept, the settings.
  ///   - isFresh: what is there is of no use.
  public init(directory: String?, _ fingerprint: Fingerprint, _ model: ModelDescription, isFresh: Bool) throws {
    self.directory = directory
    prefix = "refit-\(fingerprint.key)-"
    var known: [Int?: [Weight]] = [nil: model.finalNorm.weights + (model.head.map { [$0] } ?? [])]
    for (layer, description) in model.layers.enumerated() { known[layer] = description.weights }
    self.known = known
    guard let directory else { return }
    try AtomicFile.makeDirectory(directory)
    if isFresh { remove() }
  }

  private func path(_ layer: Int?, _ suffix: String) -> String? {
    directory.map { $0 + "/" + prefix + (layer.map { "\($0 + 1)" } ?? "head") + suffix }
  }

  public func found(_ layer: Int?) throws -> (weights: [Weight: Tensor], counts: RefitCounts)? {
    if let last, last.layer == layer { return last.found }
    let found = try read(layer)
    last = found.map { (layer, $0) }
    return found
  }

  private func read(_ layer: Int?) throws -> (weights: [Weight: Tensor], counts: RefitCounts)? {
    guard let manifest = path(layer, ".json"), let data = path(layer, ".bin") else { return inMemory[layer] }
    guard FileManager.default.fileExists(atPath: manifest),
      let entries = KeptFile.parse(try WholeFile.read(manifest, limit: 64 << 20)),
      let size = entries["bytes"]?.int, let list = entries["tensors"]?.array,
      let bytes = try? WholeFile.read(data, limit: max(size, 0)), bytes.count == size,
      entries["sha256_of_bytes"]?.string == hexadecimal(SHA256.hash(data: bytes))
    else { return nil }
    var counts = RefitCounts()
    counts.refitted = entries["refitted"]?.int ?? 0
    counts.sliced = entries["sliced"]?.int ?? 0
    counts.starved = entries["starved"]?.int ?? 0
    var weights: [Weight: Tensor] = [:]
    var start = 0
    for entry in list {
      guard let weight = known[layer]?.first(where: { $0.name == entry["weight"]?.string }),
        let dtype = DType.allCases.first(where: { "\($0)" == entry["dtype"]?.string }),
        let shape = entry["shape"]?.array?.compactMap(\.int)
      else { return nil }
      let count = shape.reduce(dtype.byteCount, *)
      guard count >= 0, start + count <= size else { return nil }
      weights[weight] = try bytes[start..<start + count].withUnsafeBytes {
        try Tensor(bytes: $0, shape: shape, dtype: dtype)
      }
      start += count
    }
    return (weights, counts)
  }

  public func keep(_ weights: [Weight: Tensor], layer: Int?, counts: RefitCounts) throws {
    guard let manifest = path(layer, ".json"), let data = path(layer, ".bin") else {
      inMemory[layer] = (weights, counts)
      return
    }
    var bytes: [UInt8] = []
    var list: [JSON] = []
    for (weight, tensor) in weights.sorted(by: { $0.key.name < $1.key.name }) {
      list.append(
        .object([
          ("weight", .text(weight.name)), ("dtype", .text("\(tensor.dtype)")),
          ("shape", .array(tensor.shape.map(JSON.int))),
        ]))
      try tensor.contiguous().withUnsafeBytes { bytes += $0 }
    }
    try AtomicFile.write(bytes, to: data)
    let entries = JSON.Object([
      ("bytes", .int(bytes.count)), ("sha256_of_bytes", .text(hexadecimal(SHA256.hash(data: bytes)))),
      ("refitted", .int(counts.refitted)), ("sliced", .int(counts.sliced)),
      ("starved", .int(counts.starved)), ("tensors", .array(list)),
    ])
    try AtomicFile.write(KeptFile.bytes(entries), to: manifest)
  }

  public func apply(_ weights: LayerWeights, of selection: Selection, layer: Int?) throws -> LayerWeights {
    guard let found = try found(layer) else {
      throw ModelError("\(layer.map { "layer \($0 + 1)" } ?? "the head") of a candidate is not refitted yet")
    }
    // Outside the layers norm and head are asked for one by one.
    if let layer, let lost = found.weights.keys.first(where: { !weights.has($0) }) {
      throw ModelError("layer \(layer + 1) of a candidate has no \(lost.name), which was refitted")
    }
    return try weights.replacing(found.weights.filter { weights.has($0.key) })
  }

  /// The result is written: what it was made of is not needed any more.
  public func remove() {
    guard let directory else { return inMemory = [:] }
    for name in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] where name.hasPrefix(prefix) {
      try? FileManager.default.removeItem(atPath: directory + "/" + name)
    }
  }
}
