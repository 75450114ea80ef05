import Checkpoint
import Testing

@Suite struct SafetensorsHeaderTests {
  @Test func readsTensorsInTheOrderOfTheirBytes() throws {
    let header = try parse(
      safetensors(
        #"{"b":{"dtype":"F32","shape":[2,2],"data_offsets":[4,20]},"__metadata__":{"format":"pt"},"#
          + #""a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]},"s":{"dtype":"I64","shape":[],"data_offsets":[20,28]}}  "#,
        data: 28))
    #expect(header.tensors.map(\.name) == ["a", "b", "s"])
    #expect(header.tensors.map(\.shape) == [[2], [2, 2], []])
    #expect(header.tensors.map(\.elementCount) == [2, 4, 1])
    #expect(header.tensors.map(\.type) == [.bfloat16, .float32, .int64])
    #expect(header.tensors[1].range == header.dataStart + 4..<header.dataStart + 20)
    #expect(header.metadata == ["format": "pt"])
  }

  @Test func readsEmptyTensorsAndAnEmptyFile() throws {
    #expect(try parse(safetensors("{}", data: 0)).tensors.isEmpty)
    let header = try parse(
      safetensors(
        #"{"z":{"dtype":"F32","shape":[0,5],"data_offsets":[2,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#,
        data: 2))
    #expect(header.tensors.map(\.name) == ["a", "z"])
  }

  @Test func countsPackedTypesInWholeBytesOnly() throws {
    #expect(try parse(safetensors(tensor(#""F4""#, "[4]", 0, 2), data: 2)).tensors[0].range.count == 2)
    #expect(try parse(safetensors(tensor(#""F6_E2M3""#, "[4]", 0, 3), data: 3)).tensors[0].range.count == 3)
    #expect(throws: CheckpointError.self) { try parse(safetensors(tensor(#""F4""#, "[3]", 0, 2), data: 2)) }
  }

  /// Each breaks one rule; the message has to name it.
  @Test(arguments: [
    (tensor(#""F32""#, "[2]", 0, 8), 7, "cut off"),
    (tensor(#""F32""#, "[2]", 0, 8), 9, "its tensors end at byte"),
    (tensor(#""F32""#, "[2]", 1, 9), 9, "leaves a hole"),
    (tensor(#""F32""#, "[3]", 0, 8), 8, "12 bytes"),
    (tensor(#""F32""#, "[2]", 8, 0), 8, "before it begins"),
    (tensor(#""F33""#, "[2]", 0, 8), 8, "does not know"),
    (tensor("32", "[2]", 0, 8), 8, "no dtype"),
    (tensor(#""F32""#, "[-2]", 0, 8), 8, "no size"),
    (tensor(#""F32""#, "[-0]", 0, 0), 0, "no size"),
    (tensor(#""F32""#, "[2.0]", 0, 8), 8, "no size"),
    (tensor(#""F32""#, "[2e0]", 0, 8), 8, "no size"),
    (tensor(#""F32""#, #"["2"]"#, 0, 8), 8, "a string in its shape"),
    (tensor(#""F32""#, "[[2]]", 0, 8), 8, "a list in its shape"),
    (tensor(#""F32""#, "2", 0, 8), 8, "no shape"),
    (tensor(#""F32""#, "null", 0, 8), 8, "no shape"),
    (tensor(#""F32""#, "[9223372036854775807,2]", 0, 8), 8, "no number of bytes"),
    (tensor(#""F32""#, "[4294967296,4294967296]", 0, 0), 0, "no number of bytes"),
    (tensor(#""F32""#, "[2305843009213693953]", 0, 4), 4, "no number of bytes"),
    (tensor(#""F32""#, "[9223372036854775808]", 0, 8), 8, "no size"),
    (tensor(#""F32""#, "[99999999999999999999999999]", 0, 8), 8, "no size"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#, 8, "no size"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775807]}}"#, 8, "cut off"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}"#, 8, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}"#, 8, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":{"0":8}}}"#, 8, "data_offsets"),
    (#"{"a":{"dtype":"F32","shape":[2]}}"#, 8, "data_offsets"),
    (#"{"a":[1,2]}"#, 0, "is a list"),
    (#"{"a":null}"#, 0, "is null"),
    (#"{"__metadata__":{"a":1}}"#, 0, "strings only"),
    (#"{"__metadata__":[]}"#, 0, "__metadata__"),
    (" {}", 0, "does not start with '{'"),
    ("[]", 0, "does not start with '{'"),
    ("", 0, "does not start with '{'"),
    ("{", 0, "not valid JSON"),
    ("{}x", 0, "not valid JSON"),
    (
      #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, 2,
      "twice"
    ),
    (#"{"a":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1, "twice"),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#, 3,
      "overlaps"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, 2,
      "overlaps"
    ),
    (
      #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}}"#, 5,
      "hole"
    ),
    ("{}", 3, "its tensors end at byte"),
  ])
  func refuses(header: String, data: Int, because: String) {
    let said = message { _ = try parse(safetensors(header, data: data)) }
    #expect(said.contains(because) && said.contains("model.safetensors"), "\(header): \(said)")
  }

  @Test func refusesLyingLengths() {
    let good = tensor(#""U8""#, "[1]", 0, 1)
    for length in [UInt64(0), 1, 10_000, 99_999_999, 100_000_001, .max, .max - 7, 1 << 63] {
      #expect(throws: CheckpointError.self, "\(length)") { try parse(safetensors(good, data: 1, length: length)) }
    }
    #expect(message { _ = try parse(safetensors(good, data: 1, length: 100_000_001)) }.contains("100000000"))
    for count in 0..<8 {
      #expect(throws: CheckpointError.self) { try parse(Array(safetensors(good, data: 1).prefix(count))) }
    }
    // A file said to be larger than the bytes at hand.
    #expect(throws: CheckpointError.self) { try parse(safetensors(good, data: 1, length: 500), fileSize: 1000) }
  }

  @Test func refusesEveryTruncation() {
    let whole = safetensors(tensor(#""F32""#, "[4]", 0, 16), data: 16)
    for count in 0..<whole.count {
      #expect(throws: CheckpointError.self, "\(count)") { try parse(Array(whole.prefix(count))) }
    }
  }

  @Test func refusesNamesThatAreNotUTF8() {
    var bytes = safetensors(tensor(#""U8""#, "[1]", 0, 1), data: 1)
    bytes[10] = 0xFF
    #expect(throws: CheckpointError.self) { try parse(bytes) }
  }

  /// What is accepted after a mutation must still cover the file exactly.
  @Test(.timeLimit(.minutes(1))) func holdsAgainstAHundredThousandMutations() throws {
    let seeds = [
      safetensors(
        #"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#
          + #""b":{"dtype":"BF16","shape":[5],"data_offsets":[24,34]},"c":{"dtype":"I64","shape":[],"data_offsets":[34,42]}}"#,
        data: 42),
      safetensors(tensor(#""F32""#, "[2,2]", 0, 16), data: 16),
    ]
    let pieces: [[UInt8]] = [
      "99999999999999999999", "-1", "1e9", "9223372036854775807", "0", "null", "[]", "{}", "\"\"", "[0,0]", "F8_E4M3",
      "F4",
      "\\u0000", "\u{7f}", ",", ":", "4611686018427387904", "true",
    ].map { Array($0.utf8) }
    var random = Generator(state: 1)
    var accepted = 0
    for round in 0..<100_000 {
      var bytes = seeds[round % seeds.count]
      for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
        let at = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<7, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 2: bytes.remove(at: at)
        case 3: bytes.insert(UInt8.random(in: 0x20...0x7E, using: &random), at: at)
        case 4: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...20, using: &random)))
        case 5:
          let piece = pieces[Int.random(in: 0..<pieces.count, using: &random)]
          bytes.replaceSubrange(at..<min(bytes.count, at + Int.random(in: 0...3, using: &random)), with: piece)
        default: bytes.insert(contentsOf: bytes[at..<min(bytes.count, at + 10)], at: at)
        }
      }
      // Half of the time the length is right, so that the JSON is reached.
      if round % 4 < 2, bytes.count >= 8, let end = bytes.lastIndex(of: UInt8(ascii: "}")), end >= 8 {
        bytes.replaceSubrange(0..<8, with: withUnsafeBytes(of: UInt64(end - 7).littleEndian) { Array($0) })
      }
      guard let header = try? parse(bytes) else { continue }
      accepted += 1
      var end = header.dataStart
      for tensor in header.tensors {
        #expect(tensor.range.lowerBound == end)
        #expect(tensor.range.count == tensor.type.byteCount(ofShape: tensor.shape))
        end = tensor.range.upperBound
      }
      #expect(end == bytes.count)
    }
    // Renamed tensors and changed data are fine; were nothing accepted, the mutations would test too little.
    #expect(accepted > 100)
  }
}

/// A header of one tensor.
func tensor(_ type: String, _ shape: String, _ begin: Int, _ end: Int) -> String {
  #"{"a":{"dtype":\#(type),"shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}}"#
}
