import Testing
import Torch

@Suite struct Facts {
  @Test func shapeTypeAndPlaceAreAsGiven() throws {
    let a = try Tensor.zeros([2, 3, 4], dtype: .bfloat16)
    #expect(a.shape == [2, 3, 4])
    #expect(a.dim == 3)
    #expect(a.dtype == .bfloat16)
    #expect(a.device == .cpu)
    #expect(a.elementCount == 24)
    #expect(a.byteCount == 48)
    #expect(a.isContiguous)
    #expect(try a.size(-1) == 4)
    #expect(!(try a.transpose(0, 1).isContiguous))
  }

  @Test func everyTypeIsKeptWithItsSize() throws {
    for dtype in DType.allCases {
      let a = try Tensor.ones([3], dtype: dtype)
      #expect(a.dtype == dtype)
      #expect(try a.withUnsafeBytes { $0.count } == 3 * dtype.byteCount)
      #expect(try a.floats() == [1, 1, 1])
    }
  }

  @Test func aTensorOfNoDimensionsHoldsOneNumber() throws {
    let a = try Tensor.full([], 2.5, dtype: .float32)
    #expect(a.shape == [])
    #expect(a.elementCount == 1)
    #expect(try a.item() == 2.5)
  }

  @Test func emptyTensorsAreNoSpecialCase() throws {
    let a = try floats([], [0, 3])
    #expect(try a.floats() == [])
    #expect(try a.matmul(try Tensor.zeros([3, 2], dtype: .float32)).shape == [0, 2])
    #expect(try a.sum().item() == 0)
    #expect(try a.withUnsafeBytes { $0.count } == 0)
  }

  @Test func theDescriptionShowsSmallTensorsWhole() throws {
    #expect(try ints([4, 5]).description == "int64[2] 4 5")
    #expect(try Tensor.zeros([2, 30], dtype: .float16).description == "float16[2, 30]")
  }
}

@Suite struct Reading {
  @Test func elementsComeInRowOrderWhateverTheLayout() throws {
    let a = try floats([1, 2, 3, 4, 5, 6], [2, 3])
    #expect(try a.transpose(0, 1).floats() == [1, 4, 2, 5, 3, 6])
    #expect(try a.narrow(dim: 1, start: 1, length: 2).floats() == [2, 3, 5, 6])
    #expect(try a.select(dim: 1, index: 0).unsqueeze(1).expand([2, 2]).floats() == [1, 1, 4, 4])
  }

  @Test func typesAreConvertedWithRounding() throws {
    let a = try floats([1.00390625, -2.5, 65504])
    #expect(try a.to(.bfloat16).floats() == [1, -2.5, 65536])
    #expect(try a.to(.float16).floats() == [1.00390625, -2.5, 65504])
    #expect(try a.to(.int64).int64s() == [1, -2, 65504])
    #expect(try Tensor([true, false], shape: [2]).bools() == [true, false])
    #expect(try Tensor([7, -7] as [Int32], shape: [2]).int64s() == [7, -7])
    #expect(try floats([0.1]).doubles() == [Double(Float(0.1))])
  }

  @Test func fractionsAreNotReadAsIntegers() throws {
    let a = try floats([1.5])
    expectError("not integers") { try a.int64s() }
  }

  @Test func oneNumberOfManyIsRefused() throws {
    let a = try floats([1, 2])
    expectError("item: a Tensor with 2 elements cannot be converted to Scalar") { try a.item() }
  }

  @Test func bytesOfGapsAreRefused() throws {
    let a = try Tensor.zeros([2, 3], dtype: .float32).transpose(0, 1)
    expectError("contiguous") { try a.withUnsafeBytes { $0.count } }
    #expect(try a.contiguous().withUnsafeBytes { $0.count } == 24)
  }
}

@Suite struct BadSizes {
  @Test func valuesMustFillTheShape() {
    expectError("takes 24 bytes, but there are 20") { try Tensor([1, 2, 3, 4, 5] as [Float], shape: [2, 3]) }
  }

  @Test func negativeAndHugeShapesThrow() {
    expectError("negative") { try Tensor.zeros([2, -1], dtype: .float32) }
    expectError("negative") { try Tensor([] as [Float], shape: [Int.min]) }
    expectError("too large") { try Tensor.empty([Int.max, 2], dtype: .uint8) }
    expectError("too large") { try Tensor.zeros([1 << 31, 1 << 31, 1], dtype: .float32) }
    expectError("allocate") { try Tensor.empty([1 << 60], dtype: .uint8) }
  }

  @Test func repeatingWithoutMemoryHasALimitToo() throws {
    let a = try floats([1], [1, 1])
    expectError("too large") { try a.expand([1 << 40, 1 << 40]) }
    expectError("negative") { try a.expand([-2, 1]) }
    #expect(try a.expand([3, -1]).shape == [3, 1])
  }

  @Test func thereIsNoSuchDimension() throws {
    let a = try Tensor.zeros([2, 3], dtype: .float32)
    expectError("Dimension out of range") { try a.softmax(dim: 2) }
    expectError("dimension -3") { try a.size(-3) }
    expectError("chunk") { try a.chunk(0, dim: 0) }
    expectError("select") { try a.select(dim: 0, index: 2) }
    expectError("narrow") { try a.narrow(dim: 0, start: 1, length: 2) }
    expectError("narrow") { try a.narrow(dim: 0, start: 1, length: Int.max) }
    expectError("transpose") { try a.transpose(0, Int.max) }
    expectError("permute") { try a.permute([0, 0]) }
    expectError("reshape") { try a.reshape([4, -1]) }
  }
}

@Suite struct Borrowing {
  final class Owner {
    let memory: UnsafeMutableRawBufferPointer
    let onRelease: () -> Void
    init(_ values: [Float], onRelease: @escaping () -> Void) {
      memory = .allocate(byteCount: values.count * 4 + 1, alignment: 16)
      memory.copyBytes(from: values.withUnsafeBytes { Array($0) })
      self.onRelease = onRelease
    }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory.dropLast()) }
    deinit {
      memory.deallocate()
      onRelease()
    }
  }

  final class Count { var releases = 0 }

  @Test func theOwnerLivesAsLongAsTheLastView() throws {
    let count = Count()
    var view: Tensor?
    do {
      let owner = Owner([1, 2, 3, 4]) { count.releases += 1 }
      let whole = try Tensor.borrowing(owner.bytes, shape: [2, 2], dtype: .float32, owner: owner)
      #expect(whole.isBorrowed)
      #expect(try whole.withUnsafeBytes { $0.baseAddress } == owner.bytes.baseAddress)
      view = try whole.transpose(0, 1).select(dim: 0, index: 1)
    }
    #expect(count.releases == 0)
    #expect(try view?.floats() == [2, 4])
    #expect(view?.isBorrowed == true)
    view = nil
    #expect(count.releases == 1)
  }

  @Test func readOnlyMemoryIsNotWritten() throws {
    let count = Count()
    let owner = Owner([1, 2, 3, 4]) { count.releases += 1 }
    let a = try Tensor.borrowing(owner.bytes, shape: [4], dtype: .float32, owner: owner)
    let b = try a.narrow(dim: 0, start: 1, length: 2)
    let index = try ints([0])
    let one = try floats([1])
    expectError("clone it") { try a.add(1) }
    expectError("clone it") { try b.multiply(by: b) }
    expectError("clone it") { try b.fill(0) }
    expectError("clone it") { try b.copy(from: one) }
    expectError("clone it") { try b.applySiLU() }
    expectError("clone it") { try b.add(one, scaledBy: 2) }
    expectError("clone it") { try b.addProduct(one, one) }
    expectError("clone it") { try b.indexAdd(dim: 0, index: index, source: one) }
    expectError("clone it") { try b.indexCopy(dim: 0, index: index, source: one) }
    #expect(try a.floats() == [1, 2, 3, 4])
    let copy = try b.clone()
    try copy.add(1)
    #expect(!copy.isBorrowed)
    #expect(try copy.floats() == [3, 4])
  }

  @Test func wrongSizesReleaseTheOwner() throws {
    let count = Count()
    do {
      let owner = Owner([1, 2, 3, 4]) { count.releases += 1 }
      expectError("takes 12 bytes, but there are 16") {
        try Tensor.borrowing(owner.bytes, shape: [3], dtype: .float32, owner: owner)
      }
    }
    #expect(count.releases == 1)
  }

  @Test func unalignedMemoryIsCopied() throws {
    let count = Count()
    var tensor: Tensor?
    do {
      let owner = Owner([1, 2]) { count.releases += 1 }
      let bytes = UnsafeRawBufferPointer(rebasing: owner.memory.dropFirst())
      let expected = bytes.loadUnaligned(as: Float.self)
      tensor = try Tensor.borrowing(bytes, shape: [2], dtype: .float32, owner: owner)
      #expect(try tensor?.floats().first == expected)
    }
    #expect(count.releases == 1)
    #expect(tensor?.isBorrowed == false)
  }

  @Test func nothingCanBeBorrowed() throws {
    let count = Count()
    let owner = Owner([]) { count.releases += 1 }
    let a = try Tensor.borrowing(
      UnsafeRawBufferPointer(start: nil, count: 0), shape: [0, 4], dtype: .bfloat16, owner: owner)
    #expect(try a.floats() == [])
  }
}

/// Each in a process of its own: what tests beside them hold must not count.
@Suite struct Memory {
  /// A leak of one tensor per operation would be hundreds of megabytes.
  private static let allowed = 48 << 20

  @Test func aMillionOperationsLeakNothing() async {
    await #expect(processExitsWith: .success) {
      let a = try floats([1, 2, 3, 4], [2, 2])
      func loop(_ count: Int) throws {
        for i in 0..<count {
          switch i % 4 {
          case 0: _ = try a.add(a, scaledBy: 0)
          case 1: _ = try a.multiplied(by: 2)
          case 2: _ = try a.narrow(dim: 0, start: 0, length: 1)
          default: _ = try a.sum(dims: [1])
          }
        }
      }
      try loop(10_000)
      let before = residentBytes()
      try loop(1_000_000)
      try #require(residentBytes() - before < Memory.allowed)
    }
  }

  @Test func failingOperationsLeakNothing() async {
    await #expect(processExitsWith: .success) {
      let a = try Tensor.zeros([2, 3], dtype: .float32)
      func loop(_ count: Int) {
        for _ in 0..<count { _ = try? a.matmul(a) }
      }
      loop(100)
      let before = residentBytes()
      loop(5_000)
      try #require(residentBytes() - before < Memory.allowed)
    }
  }
}
