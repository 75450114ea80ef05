import Checkpoint
import Testing

@Suite struct TensorSlicerTests {
  /// Element by element, by the definition of an index-select.
  func expected(_ source: [UInt8], _ size: Int, _ shape: [Int], _ kept: [[Int]?]) -> [UInt8] {
    var out: [UInt8] = []
    func walk(_ axis: Int, _ offset: Int) {
      guard axis < shape.count else {
        out += source[offset * size..<(offset + 1) * size]
        return
      }
      for index in (kept.isEmpty ? nil : kept[axis]) ?? Array(0..<shape[axis]) {
        walk(axis + 1, offset * shape[axis] + index)
      }
    }
    walk(0, 0)
    return out
  }

  func slice(_ source: [UInt8], _ slicer: TensorSlicer) throws -> [UInt8] {
    var out: [UInt8] = []
    var last = 0
    try source.withUnsafeBytes { bytes in
      try slicer.append(
        from: bytes, to: { out.append(contentsOf: $0) },
        consumed: { consumed in
          #expect(consumed >= last && consumed <= source.count)
          last = consumed
        })
    }
    return out
  }

  @Test func equalsTheDefinitionOnEveryRankAndType() throws {
    var random = Generator(state: 2)
    for round in 0..<3000 {
      let rank = round % 5
      let shape = (0..<rank).map { _ in Int.random(in: 1...7, using: &random) }
      let kept: [[Int]?] = shape.map { size in
        switch Int.random(in: 0..<4, using: &random) {
        case 0: nil
        case 1: Array(0..<size)
        case 2: Array(0..<Int.random(in: 0...size, using: &random))
        default: (0..<size).filter { _ in Bool.random(using: &random) }
        }
      }
      let types: [ElementType] = [.uint8, .bfloat16, .float32, .float64]
      let type = types[Int.random(in: 0..<4, using: &random)]
      let count = shape.reduce(type.byteCount, *)
      let source = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let slicer = try TensorSlicer(type: type, shape: shape, keeping: kept)
      let out = try slice(source, slicer)
      #expect(out == expected(source, type.byteCount, shape, kept), "\(shape) \(kept)")
      #expect(slicer.byteCount == out.count)
      #expect(slicer.shape == zip(shape, kept).map { $1?.count ?? $0 })
    }
  }

  /// Long rows are gathered many elements at a time: every length of what is left over, and few or many kept.
  @Test func equalsTheDefinitionOnLongRows() throws {
    var random = Generator(state: 6)
    for round in 0..<120 {
      let columns = [31, 32, 33, 64, 95, 200, 1000, 70_000][round % 8]
      let shape = [columns > 5000 ? 2 : 3, columns]
      let share = [0.02, 0.5, 0.875, 0.99][round / 8 % 4]
      let kept: [[Int]?] = [
        round % 3 == 0 ? [0, shape[0] - 1] : nil,
        (0..<columns).filter { _ in Double.random(in: 0..<1, using: &random) < share },
      ]
      let type = [ElementType.bfloat16, .float32, .float64, .uint8][round % 4 == 3 ? round % 4 : round / 4 % 3]
      let source = (0..<shape.reduce(type.byteCount, *)).map { _ in UInt8.random(in: 0...255, using: &random) }
      let out = try slice(source, try TensorSlicer(type: type, shape: shape, keeping: kept))
      #expect(out == expected(source, type.byteCount, shape, kept), "\(shape) \(type) \(share)")
    }
  }

  @Test func identityGivesTheSameBytes() throws {
    let source = (0..<6_000_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    let shape = [1000, 3000]
    for kept in [[], [nil, nil], [Array(0..<1000), Array(0..<3000)]] as [[[Int]?]] {
      #expect(try slice(source, TensorSlicer(type: .bfloat16, shape: shape, keeping: kept)) == source)
    }
    // Packed types pass through whole.
    #expect(try slice([1, 2], TensorSlicer(type: .float4, shape: [4], keeping: [nil])) == [1, 2])
  }

  @Test func gathersLargeTensorsThroughItsBuffer() throws {
    let source = (0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 / 2 &* 31) }
    let shape = [2000, 1000]
    let odd = Array(stride(from: 1, to: 1000, by: 2))
    let blocks = (0..<1000).filter { $0 / 64 % 2 == 0 }
    for kept in [[nil, odd], [nil, blocks], [odd, nil], [odd, odd], [Array(500..<1500), nil]] as [[[Int]?]] {
      #expect(
        try slice(source, TensorSlicer(type: .bfloat16, shape: shape, keeping: kept))
          == expected(source, 2, shape, kept))
    }
  }

  @Test func refusesSelectionsThatDoNotFit() {
    func refuses(_ shape: [Int], _ kept: [[Int]?], _ type: ElementType = .float32) {
      #expect(throws: CheckpointError.self, "\(shape) \(kept)") {
        try TensorSlicer(type: type, shape: shape, keeping: kept)
      }
    }
    refuses([3], [[0, 3]])
    refuses([3], [[-1]])
    refuses([3], [[1, 0]])
    refuses([3], [[1, 1]])
    refuses([3, 3], [[1]])
    refuses([], [[0]])
    refuses([0], [[0]])
    refuses([.max, 2], [nil, nil])
    refuses([4], [[0, 1]], .float4)
    refuses([3], [[.max]])
  }

  @Test func survivesSizesOfZeroBesideHugeOnes() throws {
    let slicer = try TensorSlicer(type: .float64, shape: [0, 1 << 62, 4], keeping: [nil, nil, [1]])
    #expect(slicer.byteCount == 0)
    #expect(try slice([], slicer).isEmpty)
    #expect(try slice([1, 2], TensorSlicer(type: .uint8, shape: [2], keeping: [[]])).isEmpty)
  }

  @Test func refusesASourceOfAnotherSize() throws {
    let slicer = try TensorSlicer(type: .uint8, shape: [4], keeping: [[0]])
    #expect(throws: CheckpointError.self) { try slice([1, 2, 3], slicer) }
  }

  @Test func copiesTheKeptPartOfACheckpointsTensor() throws {
    let scratch = try Scratch()
    try scratch.write("config.json", "{}")
    let plan = [
      PlannedTensor(name: "a", type: .uint8, shape: [7]),
      PlannedTensor(name: "t", type: .bfloat16, shape: [12_000, 1000]),
    ]
    try CheckpointWriterTests.write(plan, to: scratch.path)
    let reader = try CheckpointReader(directory: scratch.path)
    let source = CheckpointWriterTests.contents(plan[1])
    let kept: [[Int]?] = [nil, Array(stride(from: 0, to: 1000, by: 3))]
    for kept in [[], kept] {
      var out: [UInt8] = []
      try reader.copy("t", keeping: kept) { out.append(contentsOf: $0) }
      #expect(out == expected(source, 2, [12_000, 1000], kept))
    }
    #expect(throws: CheckpointError.self) { try reader.copy("gone") { _ in } }
    #expect(throws: CheckpointError.self) { try reader.copy("a", keeping: [[7]]) { _ in } }
  }
}
