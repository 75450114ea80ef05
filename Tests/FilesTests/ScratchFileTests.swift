import Files
import Foundation
import Testing

@Suite struct ScratchFileTests {
  private struct Failure: Error { let doing: String, reason: String }

  private func file(_ directory: String = NSTemporaryDirectory()) throws -> ScratchFile {
    try ScratchFile(directory: directory, name: "coppice-test") { Failure(doing: $0, reason: $1) }
  }

  private func read(_ file: ScratchFile, _ slot: ScratchFile.Slot, at start: Int = 0, _ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    try bytes.withUnsafeMutableBytes { try file.read(slot, at: start, into: $0) }
    return bytes
  }

  /// Blocks beyond what one thread moves, with ends that are no multiples of anything.
  @Test(arguments: [0, 1, 4 << 20, (9 << 20) + 13]) func whatWasWrittenIsRead(_ count: Int) throws {
    let file = try self.file()
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ ($0 >> 13)) }
    let before = try file.allocate(7)
    let slot = try bytes.withUnsafeBytes { try file.write($0) }
    let after = try file.allocate(5)
    for neighbour in [before, after] {
      let ones = [UInt8](repeating: 1, count: neighbour.byteCount)
      try ones.withUnsafeBytes { try file.write($0, to: neighbour, at: 0) }
    }
    #expect(try read(file, slot, count) == bytes)
    if count > 1 { #expect(try read(file, slot, at: count / 2, count - count / 2) == Array(bytes[(count / 2)...])) }
  }

  @Test func slotsAreUsedAgain() throws {
    let file = try self.file()
    func written(_ number: UInt8) throws -> ScratchFile.Slot {
      try [UInt8](repeating: number, count: 100).withUnsafeBytes { try file.write($0) }
    }
    let first = try written(1)
    file.free(first)
    _ = try written(2)
    #expect(try read(file, first, 100) == [UInt8](repeating: 2, count: 100), "the same place")
    // Room that is taken is empty, whatever has been there.
    file.free(first)
    #expect(try read(file, file.allocate(100), 100) == [UInt8](repeating: 0, count: 100))
  }

  @Test func whatTheSystemRefusesIsSaid() throws {
    let missing = #expect(throws: Failure.self) { _ = try self.file("/nowhere/at/all") }
    #expect(missing?.doing == "make a file" && missing?.reason.isEmpty == false)
    // More than any disk has.
    let file = try self.file()
    let full = #expect(throws: Failure.self) { _ = try file.allocate(1 << 60) }
    #expect(full?.doing == "reserve 1152921504606846976 bytes")
  }
}
