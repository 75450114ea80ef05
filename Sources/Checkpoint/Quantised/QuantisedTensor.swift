import JSON

/// How values and scales make a weight.
///
/// Shapes: M rows and N columns of a weight, E of them one after another where there are more axes, G groups of a row.
enum QuantisedFormat: Sendable, Equatable {
  /// `[E…, M, N]` in F8_E4M3, times scales: one, one a row `[M, 1]`, or one a block of this many rows and columns.
  case float8(rows: Int, columns: Int)
  /// Two values in four bits (E2M1) a byte, the lower half first, `[E…, M, G, 16]`, times powers of two `[E…, M, G]`; the weight has M as
  /// its last axis (gpt-oss; the Microscaling formats of the Open Compute Project).
  case mxfp4
  /// The same values `[M, N / 2]`, times F8_E4M3 scales of sixteen `[M, N / 16]`, times a number, or divided by it.
  case nvfp4(dividesByGlobal: Bool)
  /// Numbers of this many bits, less half of their range, in I32 `[E…, M, N × bits / 32]`, those of a word from its lowest bits up, times
  /// scales `[E…, M, G]` (compressed-tensors' `pack-quantized`).
  case integers(bits: Int)
}

/// What the config says about how values and scales lie.
struct QuantisedLayout {
  /// Rows and columns that have a scale in common.
  var block: [Int]?
  /// Bits of packed integers.
  var bits: Int?
}

/// A weight that lies in several tensors of a checkpoint, quantised, and is bfloat16 when it is read.
final class QuantisedTensor: Sendable, Equatable {
  let format: QuantisedFormat
  let values: TensorEntry
  let scales: TensorEntry
  let global: TensorEntry?

  init(_ format: QuantisedFormat, values: TensorEntry, scales: TensorEntry, global: TensorEntry? = nil) {
    (self.format, self.values, self.scales, self.global) = (format, values, scales, global)
  }

  var parts: [TensorEntry] { [values, scales] + (global.map { [$0] } ?? []) }

  static func == (a: QuantisedTensor, b: QuantisedTensor) -> Bool { a === b }

  /// The shape of the weight.
  var shape: [Int] {
    switch format {
    case .float8: return values.shape
    case .nvfp4: return values.shape.dropLast() + [values.shape[values.shape.count - 1] * 2]
    case .integers(let bits): return values.shape.dropLast() + [values.shape[values.shape.count - 1] * (32 / bits)]
    case .mxfp4:
      let (outer, rows, groups) = (
        values.shape.dropLast(3), values.shape[values.shape.count - 3], scales.shape.last ?? 0
      )
      return outer + [groups * 32, rows]
    }
  }
}

extension WeightFiles {
  /// The same with quantised weights in place of the tensors that hold them.
  ///
  /// - Parameter layout: what the config says.
  /// - Throws: `CheckpointError` for values and scales that do not fit each other.
  func dequantising(_ layout: QuantisedLayout, in directory: String) throws -> WeightFiles {
    let found = try QuantisedWeights(self, layout, directory: directory)
    return found.isEmpty ? self : try replacing(tensors: found.tensors, in: directory)
  }
}

/// Finds a checkpoint's quantised weights by the names of their scales.
private struct QuantisedWeights {
  private(set) var tensors: [TensorEntry] = []
  private(set) var isEmpty = true

  /// Scales of activations and of caches, which mean nothing once weights are bfloat16, and shapes that are known without them.
  private static let others = [
    ".input_scale", ".output_scale", ".activation_scale", ".k_scale", ".v_scale", ".input_global_scale",
    ".kv_cache_scaling_factor", ".weight_shape",
  ]

  init(_ files: WeightFiles, _ layout: QuantisedLayout, directory: String) throws {
    var weights: [JSON.Text: TensorEntry] = [:]
    var used: Set<JSON.Text> = []
    for values in files.tensors {
      guard let (name, tensor) = try Self.weight(values, files, layout, directory) else { continue }
      let shape = tensor.shape
      guard let bytes = ElementType.bfloat16.byteCount(ofShape: shape) else {
        throw CheckpointError(.malformed, "\(directory): \(values.name) is larger than any weight once it is bfloat16")
      }
      weights[JSON.Text(values.name)] = TensorEntry(
        name: name, type: .bfloat16, shape: shape, file: values.file, range: 0..<bytes, quantised: tensor)
      used.formUnion(tensor.parts.map { JSON.Text($0.name) })
    }
    isEmpty = weights.isEmpty
    guard !isEmpty else { return }
    tensors = files.tensors.compactMap { entry in
      if let weight = weights[JSON.Text(entry.name)] { return weight }
      return used.contains(JSON.Text(entry.name)) || Self.others.contains(where: entry.name.hasSuffix) ? nil : entry
    }
  }

  /// The weight whose values these are, and its name; nil where they are none of a known format.
  private static func weight(
    _ values: TensorEntry, _ files: WeightFiles, _ layout: QuantisedLayout, _ directory: String
  ) throws -> (name: String, QuantisedTensor)? {
    func part(_ name: String) -> TensorEntry? { files.entry(name) }
    func wrong(_ what: String) -> CheckpointError {
      CheckpointError(.malformed, "\(directory)/\(values.file): \(what)")
    }
    let name = values.name
    switch values.type {
    case .float8E4M3:
      guard let scales = part(name + "_scale_inv") ?? part(name + "_scale"), scales.type.isScale else { return nil }
      guard let (rows, columns) = blocks(layout.block ?? [128, 128], of: values.shape, scales.shape) else {
        throw wrong(
          "the scales \(scales.name) of shape \(scales.shape) do not divide \(name) of shape \(values.shape) into blocks"
        )
      }
      return (name, QuantisedTensor(.float8(rows: rows, columns: columns), values: values, scales: scales))
    case .uint8 where name.hasSuffix("_blocks"):
      let own = String(name.dropLast("_blocks".count))
      guard let scales = part(own + "_scales"), scales.type == .uint8 else { return nil }
      guard values.shape.count >= 3, values.shape.last == 16, Array(values.shape.dropLast()) == scales.shape else {
        throw wrong(
          "\(name) has shape \(values.shape) and \(scales.name) \(scales.shape); MXFP4 wants […, rows, groups, 16] and "
            + "[…, rows, groups]")
      }
      return (own, QuantisedTensor(.mxfp4, values: values, scales: scales))
    case .uint8 where name.hasSuffix(".weight") || name.hasSuffix(".weight_packed"):
      let isPacked = name.hasSuffix("_packed")
      let own = isPacked ? String(name.dropLast("_packed".count)) : name
      guard let scales = part(own + "_scale"), scales.type == .float8E4M3,
        let global = part(own + (isPacked ? "_global_scale" : "_scale_2")), global.type.isScale
      else { return nil }
      guard values.shape.count >= 2, global.elementCount == 1,
        scales.shape.dropLast() == values.shape.dropLast(), (scales.shape.last ?? 0) * 8 == values.shape.last
      else {
        throw wrong(
          "\(name) has shape \(values.shape) and \(scales.name) \(scales.shape); NVFP4 wants a scale for every eight bytes of a row, and "
            + "one number in \(global.name)")
      }
      return (own, QuantisedTensor(.nvfp4(dividesByGlobal: isPacked), values: values, scales: scales, global: global))
    case .int32 where name.hasSuffix(".weight_packed"):
      let own = String(name.dropLast("_packed".count))
      guard let bits = layout.bits, let scales = part(own + "_scale"), scales.type.isScale else { return nil }
      for other in ["_zero_point", "_g_idx"] {
        if let found = part(own + other) {
          throw wrong(
            "\(found.name) is there: integers are read where they are symmetric and in the order of the columns")
        }
      }
      let words = values.shape.last ?? 0
      guard values.shape.count >= 2, scales.shape.count == values.shape.count,
        scales.shape.dropLast() == values.shape.dropLast(), let groups = scales.shape.last, groups > 0,
        words * (32 / bits) % groups == 0
      else {
        throw wrong(
          "\(name) has shape \(values.shape) and \(scales.name) \(scales.shape); \(bits) bits want […, rows, columns / \(32 / bits)] and "
            + "[…, rows, groups]")
      }
      return (own, QuantisedTensor(.integers(bits: bits), values: values, scales: scales))
    default: return nil
    }
  }

  /// Rows and columns that have a scale in common; nil where the shapes do not fit.
  private static func blocks(_ block: [Int], of values: [Int], _ scales: [Int]) -> (rows: Int, columns: Int)? {
    guard values.count >= 2, !values.contains(0), block.count == 2 else { return nil }
    let (rows, columns) = (values[values.count - 2], values[values.count - 1])
    if scales.reduce(1, *) == 1, values.count == 2 { return (rows, columns) }
    var scales = scales
    // One a row, of a shape without columns.
    if scales.count == 1, scales[0] == rows { scales.append(1) }
    guard scales.count == values.count, scales.dropLast(2) == values.dropLast(2) else { return nil }
    func step(_ size: Int, _ count: Int, _ block: Int) -> Int? {
      if count == size { return 1 }
      if count == 1, size <= block || block <= 0 { return size }
      if block > 0, (size + block - 1) / block == count { return block }
      return count > 0 && size % count == 0 ? size / count : nil
    }
    let (high, wide) = (scales[scales.count - 2], scales[scales.count - 1])
    // A scale for each row, whatever blocks there are elsewhere.
    if high == rows, wide == 1 { return (1, columns) }
    guard let high = step(rows, high, block[0]), let wide = step(columns, wide, block[1]) else { return nil }
    return (high, wide)
  }
}

extension ElementType {
  fileprivate var isScale: Bool { [.float32, .bfloat16, .float16, .float8E8M0].contains(self) }
}

extension TensorEntry {
  /// The tensors of the files that it is made of: itself, unless it is quantised.
  var stored: [TensorEntry] { quantised?.parts ?? [self] }
}
