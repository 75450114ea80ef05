import Checkpoint
import Foundation
import JSON
import TestSupport
import Testing
import Torch

#if canImport(Glibc)
  import Glibc
#endif

/// Checkpoints that are stored in other types than the one computed with.
@Suite struct StoredTypeTests {
  /// The bundled model in another type. Every value of a bfloat16 has its place in float32; in float16 small ones lose
  /// some bits.
  private func converted(_ type: ElementType, in directory: String) throws -> String {
    let source = try CheckpointReader(directory: Program.model)
    let target = directory + "/model-\(type.rawValue)"
    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
    for name in ["config.json", "tokenizer.json"] {
      try FileManager.default.copyItem(atPath: Program.model + "/" + name, toPath: target + "/" + name)
    }
    let writer = try CheckpointWriter(
      directory: target, tensors: source.tensors.map { PlannedTensor(name: $0.name, type: type, shape: $0.shape) })
    for entry in source.tensors {
      #expect(entry.type == .bfloat16)
      let values = try source.bytes(of: entry.name).withMemoryRebound(to: UInt16.self) { words in
        words.map { Float(bitPattern: UInt32($0) << 16) }
      }
      try writer.write(entry.name) { append in
        if type == .float32 {
          try values.withUnsafeBytes { try append($0) }
        } else {
          try values.map(half).withUnsafeBytes { try append($0) }
        }
      }
    }
    try writer.finish()
    return target
  }

  /// float16's bits, the nearest: Swift has the type on some machines only.
  private func half(_ value: Float) -> UInt16 {
    let sign = UInt16(value.bitPattern >> 16) & 0x8000
    let size = abs(value)
    // Below 2⁻¹⁴ steps are of 2⁻²⁴; above they are an eleventh bit behind the leading one.
    let exponent = max(size == 0 ? -14 : Int(size.exponent), -14)
    let steps = (size * exp2f(Float(10 - exponent))).rounded(.toNearestOrEven)
    return sign + UInt16(max(exponent + 14, 0) << 10) + UInt16(steps)
  }

  @Test func areConvertedOnTheWayAndKeepTheirTypeInTheResult() throws {
    try withTemporaryDirectory { directory in
      let byHand = ["--prune_export_config", #"{"ffn_hidden_size": 256, "num_layers": 6}"#]
      func pruned(_ model: String, _ name: String, _ more: [String] = []) throws -> (CheckpointReader, String) {
        let result = try Program.run(prune(to: directory + "/" + name, byHand + more, model: model))
        result.expectSuccess()
        return (try CheckpointReader(directory: directory + "/" + name), result.error)
      }
      let (original, _) = try pruned(Program.model, "a", ["--compute_dtype", "bfloat16"])
      for type in [ElementType.float32, .float16] {
        let model = try converted(type, in: directory)
        let (found, said) = try pruned(model, "b\(type.rawValue)", ["--compute_dtype", "bfloat16"])
        // The quicker type is named, where there is one.
        let isQuick = Processor.multipliesBFloat16
        #expect(said.contains("in bfloat16") && said.contains("--compute_dtype float32") == !isQuick, "\(said)")
        let (_, hint) = try pruned(model, "c\(type.rawValue)")
        #expect(hint.contains("in float32") && hint.contains("--compute_dtype bfloat16") == isQuick, "\(hint)")
        #expect(found.tensors.map(\.name) == original.tensors.map(\.name))
        #expect(found.tensors.allSatisfy { $0.type == type })
        guard type == .float32 else { continue }
        // Back in bfloat16 it is the same model: the same channels were kept.
        for entry in original.tensors {
          let wide = try found.bytes(of: entry.name).withMemoryRebound(to: UInt32.self) { Array($0) }
          let narrow = try original.bytes(of: entry.name).withMemoryRebound(to: UInt16.self) { Array($0) }
          #expect(wide.elementsEqual(narrow.map { UInt32($0) << 16 }), "\(entry.name)")
        }
      }
    }
  }
}
