import Checkpoint
import Foundation
import JSON
import Testing

@Suite struct CheckpointWriterTests {
  static func contents(_ tensor: PlannedTensor) -> [UInt8] {
    let seed = tensor.name.utf8.reduce(0) { $0 &+ Int($1) }
    return (0..<(tensor.type.byteCount(ofShape: tensor.shape) ?? 0)).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ seed) }
  }

  static func write(_ plan: [PlannedTensor], to directory: String, maxShardBytes: Int = 5_000_000_000) throws {
    let writer = try CheckpointWriter(directory: directory, tensors: plan, maxShardBytes: maxShardBytes)
    for tensor in plan {
      try writer.write(tensor.name) { append in
        try contents(tensor).withUnsafeBytes { bytes in
          var at = 0
          while at < bytes.count {
            let end = min(bytes.count, at + 1000)
            try append(UnsafeRawBufferPointer(rebasing: bytes[at..<end]))
            at = end
          }
        }
      }
    }
    try writer.finish()
  }

  static let mixed = [
    PlannedTensor(name: "odd", type: .uint8, shape: [3]), PlannedTensor(name: "half", type: .bfloat16, shape: [5, 7]),
    PlannedTensor(name: "é \"\n", type: .float32, shape: [2, 0, 3]),
    PlannedTensor(name: "scalar", type: .int64, shape: []),
    PlannedTensor(name: "large", type: .float32, shape: [1500, 1000]),
  ]

  @Test func comesBackAsWritten() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    try Self.write(Self.mixed, to: scratch.path)
    #expect(try scratch.names() == ["config.json", "model.safetensors"])
    let reader = try CheckpointReader(directory: scratch.path)
    #expect(reader.tensors.count == Self.mixed.count)
    for tensor in Self.mixed {
      #expect(Array(try reader.bytes(of: tensor.name)) == Self.contents(tensor))
      let entry = try #require(reader.entry(tensor.name))
      #expect(entry.type == tensor.type && entry.shape == tensor.shape)
      // Aligned to its elements, whatever stands before it.
      #expect(entry.range.lowerBound % tensor.type.byteCount == 0)
    }
    try CheckpointWriter.verify(directory: scratch.path, against: Self.mixed)
  }

  /// Large files are written past the page cache, block by block on another thread, small tensors between large ones.
  @Test func aLargeFileComesBackAsWritten() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    let plan = (0..<40).map { number in
      PlannedTensor(
        name: "t\(number)", type: number % 7 == 3 ? .float32 : .bfloat16, shape: [number % 2 == 0 ? 2_100_001 : 5])
    }
    let writer = try CheckpointWriter(directory: scratch.path, tensors: plan)
    for (number, tensor) in plan.enumerated() {
      var bytes = [UInt8](repeating: UInt8(number), count: tensor.type.byteCount(ofShape: tensor.shape) ?? 0)
      bytes[0] = 200
      bytes[bytes.count - 1] = 201
      try writer.write(tensor.name) { append in try bytes.withUnsafeBytes { try append($0) } }
    }
    try writer.finish()
    let reader = try CheckpointReader(directory: scratch.path)
    for (number, tensor) in plan.enumerated() {
      let bytes = try reader.bytes(of: tensor.name)
      #expect(bytes.first == 200 && bytes.last == 201, "\(tensor.name)")
      #expect(bytes.dropFirst().dropLast().allSatisfy { $0 == UInt8(number) }, "\(tensor.name)")
    }
  }

  /// A file that is given up while its blocks are being written.
  @Test func aWriterCanBeLeftAtAnyTime() throws {
    let scratch = try Scratch()
    let plan = [PlannedTensor(name: "t", type: .uint8, shape: [100 << 20])]
    struct Stop: Error {}
    let piece = [UInt8](repeating: 1, count: 9 << 20)
    #expect(throws: Stop.self) {
      let writer = try CheckpointWriter(directory: scratch.path, tensors: plan)
      try writer.write("t") { append in
        try piece.withUnsafeBytes { try append($0) }
        throw Stop()
      }
    }
    #expect(throws: CheckpointError.self) { try CheckpointReader(directory: scratch.path) }
  }

  @Test func shardsLikeHuggingFace() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    let plan = [4, 4, 3, 20, 1, 9, 10].enumerated().map {
      PlannedTensor(name: "t\($0)", type: .uint8, shape: [$1])
    }
    try Self.write(plan, to: scratch.path, maxShardBytes: 10)
    let reader = try CheckpointReader(directory: scratch.path)
    let shards = reader.weightFiles.map { file in reader.tensors.filter { $0.file == file }.map(\.name) }
    #expect(shards == [["t0", "t1"], ["t2"], ["t3"], ["t4", "t5"], ["t6"]])
    #expect(reader.weightFiles.first == "model-00001-of-00005.safetensors")
    let index = try JSON(parsing: scratch.read("model.safetensors.index.json"))
    #expect(index["metadata"]?["total_size"]?.int == 51)
    #expect(index["weight_map"]?.object?.count == 7)
    for tensor in plan { #expect(Array(try reader.bytes(of: tensor.name)) == Self.contents(tensor)) }
    try CheckpointWriter.verify(directory: scratch.path, against: plan)
  }

  @Test func refusesWrongByteCountsAndWrongTurns() throws {
    let plan = [PlannedTensor(name: "a", type: .uint8, shape: [3]), PlannedTensor(name: "b", type: .uint8, shape: [3])]
    func attempt(_ name: String, _ count: Int) throws -> String {
      let scratch = try Scratch()
      let writer = try CheckpointWriter(directory: scratch.path, tensors: plan)
      let said = message {
        try writer.write(name) { append in
          try [UInt8](repeating: 0, count: count).withUnsafeBytes { try append($0) }
        }
        try writer.finish()
      }
      #expect(throws: CheckpointError.self) { try writer.finish() }
      return said
    }
    #expect(try attempt("a", 2).contains("lacks 1"))
    #expect(try attempt("a", 4).contains("1 bytes more"))
    #expect(try attempt("b", 3).contains("where \"a\" was planned"))
    #expect(try attempt("a", 3).contains("1 planned tensors were not written"))
  }

  @Test func aHalfWrittenFileIsNoSafetensorsFile() throws {
    let scratch = try Scratch()
    let plan = [
      PlannedTensor(name: "a", type: .uint8, shape: [8 << 20]), PlannedTensor(name: "b", type: .uint8, shape: [3]),
    ]
    let writer = try CheckpointWriter(directory: scratch.path, tensors: plan)
    try writer.write("a") { append in
      try Self.contents(plan[0]).withUnsafeBytes { try append($0) }
    }
    #expect(throws: CheckpointError.self) { try SafetensorsFile(path: scratch.at("model.safetensors")) }
  }

  @Test func refusesPlansThatNoFileCanHold() throws {
    let scratch = try Scratch()
    func refuses(_ plan: [PlannedTensor], max: Int = 100) {
      #expect(throws: CheckpointError.self) {
        try CheckpointWriter(directory: scratch.path, tensors: plan, maxShardBytes: max)
      }
    }
    refuses([])
    refuses([PlannedTensor(name: "a", type: .float32, shape: [1])], max: 0)
    refuses([PlannedTensor(name: "a", type: .float32, shape: [1]), PlannedTensor(name: "a", type: .int8, shape: [1])])
    refuses([PlannedTensor(name: "__metadata__", type: .float32, shape: [1])])
    refuses([PlannedTensor(name: "a", type: .float32, shape: [.max, 2])])
    refuses([PlannedTensor(name: "a", type: .float32, shape: [-1])])
    refuses([
      PlannedTensor(name: "a", type: .uint8, shape: [.max]), PlannedTensor(name: "b", type: .uint8, shape: [.max]),
    ])
    // More than any disk has.
    refuses([PlannedTensor(name: "a", type: .uint8, shape: [.max])])
    #expect(throws: CheckpointError.self) {
      try CheckpointWriter(directory: scratch.at("gone"), tensors: [PlannedTensor(name: "a", type: .int8, shape: [1])])
    }
  }

  @Test func verifyingFindsEveryDifference() throws {
    let scratch = try Scratch()
    let plan = [
      PlannedTensor(name: "a", type: .float32, shape: [2, 3]), PlannedTensor(name: "b", type: .int8, shape: [6]),
    ]
    try Self.write(plan, to: scratch.path)
    func said(_ plan: [PlannedTensor]) -> String {
      message { try CheckpointWriter.verify(directory: scratch.path, against: plan) }
    }
    #expect(said(plan).isEmpty)
    #expect(said([plan[0]]).contains("\"b\", which was not planned"))
    #expect(said(plan + [PlannedTensor(name: "c", type: .int8, shape: [1])]).contains("lacks tensor \"c\""))
    #expect(
      said([PlannedTensor(name: "a", type: .float32, shape: [3, 2]), plan[1]]).contains("planned was F32 [3, 2]"))
    #expect(said([PlannedTensor(name: "a", type: .int32, shape: [2, 3]), plan[1]]).contains("planned was I32"))
    #expect(said(plan + [plan[1]]).contains("twice"))
  }
}
