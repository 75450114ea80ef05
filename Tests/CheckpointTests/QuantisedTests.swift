import Checkpoint
import Foundation
import JSON
import Testing

/// Weights that are stored quantised are bfloat16 when they are read (all formats against PyTorch: Tests/Oracle/quantised.py).
@Suite struct QuantisedTests {
  private typealias Stored = (name: String, type: String, shape: [Int], bytes: [UInt8])

  private func reader(_ stored: [Stored], config: String = "{}", in scratch: Scratch) throws -> CheckpointReader {
    var (header, data) = ([String](), [UInt8]())
    for tensor in stored {
      header.append(
        "\"\(tensor.name)\": {\"dtype\": \"\(tensor.type)\", \"shape\": \(tensor.shape), \"data_offsets\": [\(data.count), \(data.count + tensor.bytes.count)]}"
      )
      data += tensor.bytes
    }
    let text = Array("{\(header.joined(separator: ", "))}".utf8)
    let length = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Array($0) }
    try scratch.write("model.safetensors", length + text + data)
    try scratch.write("config.json", config)
    return try CheckpointReader(directory: scratch.path)
  }

  private func bytes(_ values: [Float]) -> [UInt8] {
    values.flatMap { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } }
  }

  private func values(_ reader: CheckpointReader, _ name: String) throws -> [Float] {
    let contents = try reader.contents(of: name)
    return withExtendedLifetime(contents) {
      (0..<contents.bytes.count / 2).map {
        Float(bitPattern: UInt32(contents.bytes.loadUnaligned(fromByteOffset: $0 * 2, as: UInt16.self)) << 16)
      }
    }
  }

  @Test func eightBitsAreWhatTheFormatSays() throws {
    let scratch = try Scratch()
    let known: [(UInt8, Float)] = [
      (0x00, 0), (0x01, 0x1p-9), (0x07, 7 * 0x1p-9), (0x08, 0x1p-6), (0x38, 1), (0x3C, 1.5), (0x7E, 448), (0xB8, -1),
      (0xFE, -448), (0x80, -0.0),
    ]
    let reader = try reader(
      [("w", "F8_E4M3", [1, known.count], known.map(\.0)), ("w_scale", "F32", [], bytes([2]))], in: scratch)
    #expect(
      reader.tensors.map(\.name) == ["w"] && reader.entry("w")?.type == .bfloat16
        && reader.entry("w")?.isQuantised == true)
    #expect(try values(reader, "w") == known.map { $0.1 * 2 })
    let nan = try self.reader(
      [("w", "F8_E4M3", [1, 2], [0x7F, 0xFF]), ("w_scale", "F32", [], bytes([2]))], in: scratch)
    #expect(try values(nan, "w").allSatisfy(\.isNaN))
  }

  private static func integers(_ bits: Int, _ more: String = "") -> String {
    """
    {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": {"group_0": {
      "weights": {"type": "int", "num_bits": \(bits), "symmetric": true\(more)}}}}}
    """
  }

  /// Words are read from their lowest bits up, and each group of a row has its scale.
  @Test func packedIntegersAreWhatTheFormatSays() throws {
    let scratch = try Scratch()
    let four = try reader(
      [
        ("a.weight_packed", "I32", [1, 1], [0x10, 0x32, 0x54, 0xF8]),
        ("a.weight_scale", "F32", [1, 2], bytes([1, 10])),
        ("a.weight_shape", "I64", [2], [UInt8](repeating: 0, count: 16)),
      ], config: Self.integers(4), in: scratch)
    #expect(four.tensors.map(\.name) == ["a.weight"] && four.entry("a.weight")?.shape == [1, 8])
    #expect(try values(four, "a.weight") == [-8, -7, -6, -5, -40, -30, 0, 70])
    let eight = try reader(
      [
        ("a.weight_packed", "I32", [2, 1], [0, 1, 128, 255, 129, 127, 0, 3]),
        ("a.weight_scale", "F32", [2, 1], bytes([1, 2])),
      ],
      config: Self.integers(8), in: scratch)
    #expect(try values(eight, "a.weight") == [-128, -127, 0, 127, 2, -2, -256, -250])
    // Where the config does not say how many bits, or another number, they are no weight.
    for config in ["{}", Self.integers(3)] {
      let other = try reader(
        [("a.weight_packed", "I32", [1, 1], [0, 0, 0, 0]), ("a.weight_scale", "F32", [1, 1], bytes([1]))],
        config: config,
        in: scratch)
      #expect(other.entry("a.weight") == nil && other.entry("a.weight_packed")?.isQuantised == false)
    }
  }

  @Test func integersThatAreNotReadAreNamed() throws {
    let scratch = try Scratch()
    let word: [UInt8] = [0, 0, 0, 0]
    let values: Stored = ("a.weight_packed", "I32", [1, 1], word)
    let wrong: [([Stored], String)] = [
      ([values, ("a.weight_scale", "F32", [1, 3], bytes([1, 1, 1]))], "a.weight_scale"),
      ([values, ("a.weight_scale", "F32", [2, 1], bytes([1, 1]))], "a.weight_scale"),
      ([values, ("a.weight_scale", "F32", [1], bytes([1]))], "a.weight_scale"),
      ([values, ("a.weight_scale", "F32", [1, 0], [])], "a.weight_scale"),
      (
        [values, ("a.weight_scale", "F32", [1, 1], bytes([1])), ("a.weight_zero_point", "I32", [1, 1], word)],
        "a.weight_zero_point"
      ),
      (
        [values, ("a.weight_scale", "F32", [1, 1], bytes([1])), ("a.weight_g_idx", "I32", [1], word)], "a.weight_g_idx"
      ),
    ]
    for (stored, name) in wrong {
      let found = message { _ = try reader(stored, config: Self.integers(4), in: scratch) }
      #expect(found.contains(name) && found.contains("model.safetensors"), "\(found)")
    }
  }

  @Test func theLastBlockMayBeNarrower() throws {
    let scratch = try Scratch()
    let reader = try reader(
      [
        ("w", "F8_E4M3", [3, 5], [UInt8](repeating: 0x38, count: 15)),
        ("w_scale_inv", "F32", [2, 3], bytes([1, 2, 3, 4, 5, 6])),
      ], config: #"{"quantization_config": {"quant_method": "fp8", "weight_block_size": [2, 2]}}"#, in: scratch)
    #expect(try values(reader, "w") == [1, 1, 2, 2, 3, 1, 1, 2, 2, 3, 4, 4, 5, 5, 6])
  }

  @Test func aSliceOfItIsThatOfTheWeight() throws {
    let scratch = try Scratch()
    let reader = try reader(
      [
        ("w", "F8_E4M3", [2, 3], [0x38, 0x40, 0x44, 0x48, 0x4A, 0x4C]), ("w_scale", "F32", [2, 1], bytes([1, 10])),
      ], in: scratch)
    var kept: [UInt8] = []
    try reader.copy("w", keeping: [[1], [0, 2]]) { kept += $0 }
    let found = stride(from: 0, to: kept.count, by: 2).map {
      Float(bitPattern: UInt32(kept[$0]) << 16 | UInt32(kept[$0 + 1]) << 24)
    }
    #expect(found == [40, 60])
  }

  @Test func scalesOfActivationsAreNoWeights() throws {
    let scratch = try Scratch()
    let reader = try reader(
      [
        ("a.weight", "F8_E4M3", [1, 1], [0x38]), ("a.weight_scale", "F32", [], bytes([1])),
        ("a.input_scale", "F32", [], bytes([1])), ("a.k_scale", "F32", [], bytes([1])), ("b", "F32", [1], bytes([1])),
      ], in: scratch)
    #expect(reader.tensors.map(\.name) == ["a.weight", "b"])
  }

  /// Values whose scales are not there are what they are: whoever wants weights says so.
  @Test func valuesWithoutScalesAreNoWeight() throws {
    let scratch = try Scratch()
    let reader = try reader([("w", "F8_E4M3", [1, 1], [0x38])], in: scratch)
    #expect(reader.entry("w")?.type == .float8E4M3 && reader.entry("w")?.isQuantised == false)
  }

  @Test func whatDoesNotFitIsSaid() throws {
    let scratch = try Scratch()
    let one = bytes([1])
    let wrong: [([Stored], String)] = [
      (
        [
          ("w", "F8_E4M3", [3, 5], [UInt8](repeating: 0, count: 15)),
          ("w_scale_inv", "F32", [2, 2], bytes([1, 1, 1, 1])),
        ], "w_scale_inv"
      ),
      ([("w", "F8_E4M3", [3], [0, 0, 0]), ("w_scale", "F32", [2], bytes([1, 1]))], "w_scale"),
      ([("w", "F8_E4M3", [0, 2], []), ("w_scale", "F32", [], one)], "w_scale"),
      (
        [("e_blocks", "U8", [1, 2, 1, 8], [UInt8](repeating: 0, count: 16)), ("e_scales", "U8", [1, 2, 1], [1, 1])],
        "MXFP4"
      ),
      (
        [("e_blocks", "U8", [2, 1, 16], [UInt8](repeating: 0, count: 32)), ("e_scales", "U8", [1, 2], [1, 1])], "MXFP4"
      ),
      (
        [
          ("a.weight", "U8", [1, 8], [UInt8](repeating: 0, count: 8)), ("a.weight_scale", "F8_E4M3", [1, 2], [0, 0]),
          ("a.weight_scale_2", "F32", [], one),
        ], "NVFP4"
      ),
      (
        [
          ("a.weight", "U8", [1, 8], [UInt8](repeating: 0, count: 8)), ("a.weight_scale", "F8_E4M3", [1, 1], [0]),
          ("a.weight_scale_2", "F32", [2], bytes([1, 1])),
        ], "NVFP4"
      ),
    ]
    for (stored, word) in wrong {
      let found = message { _ = try reader(stored, in: scratch) }
      #expect(found.contains(word) && found.contains("model.safetensors"), "\(found)")
    }
    // A name twice, once as it is and once quantised.
    let twice = message {
      _ = try reader(
        [
          ("e_blocks", "U8", [1, 1, 16], [UInt8](repeating: 0, count: 16)), ("e_scales", "U8", [1, 1], [1]),
          ("e", "F32", [], one),
        ], in: scratch)
    }
    #expect(twice.contains("\"e\""), "\(twice)")
  }
}
