import Checkpoint
import Files
import Foundation
import Testing

@Suite struct OutputDirectoryTests {
  struct Stopped: Error {}

  func kind(_ body: () throws -> Void) -> CheckpointError.Kind? {
    do { try body() } catch let error as CheckpointError { return error.kind } catch {}
    return nil
  }

  func fill(_ directory: String) throws {
    try Data("x".utf8).write(to: URL(fileURLWithPath: directory + "/file"))
    try FileManager.default.createDirectory(atPath: directory + "/sub", withIntermediateDirectories: false)
    try Data("y".utf8).write(to: URL(fileURLWithPath: directory + "/sub/file"))
  }

  @Test(arguments: ["out", "out/", "deep/er/out"])
  func appearsWhole(_ name: String) throws {
    let scratch = try Scratch()
    try OutputDirectory.publish(to: scratch.at(name)) { temporary in
      try fill(temporary)
      #expect(!FileManager.default.fileExists(atPath: scratch.at(name)))
    }
    #expect(FileManager.default.fileExists(atPath: scratch.at(name) + "/sub/file"))
    #expect(try scratch.names().filter { $0.hasPrefix(".") }.isEmpty)
  }

  @Test func anEmptyDirectoryIsFine() throws {
    let scratch = try Scratch()
    try FileManager.default.createDirectory(atPath: scratch.at("out"), withIntermediateDirectories: false)
    try OutputDirectory.publish(to: scratch.at("out"), build: fill)
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.at("out")).count == 2)
  }

  @Test func neverOverwrites() throws {
    let scratch = try Scratch()
    try FileManager.default.createDirectory(atPath: scratch.at("out"), withIntermediateDirectories: false)
    try scratch.write("out/mine", "mine")
    try scratch.write("file", "mine")
    for name in ["out", "file"] {
      #expect(kind { try OutputDirectory.publish(to: scratch.at(name)) { _ in Issue.record("built") } } == .exists)
    }
    #expect(try scratch.read("out/mine") == Array("mine".utf8))
    // Something that appears while the output is built is left alone too.
    #expect(
      kind {
        try OutputDirectory.publish(to: scratch.at("late")) { temporary in
          try fill(temporary)
          try FileManager.default.createDirectory(atPath: scratch.at("late"), withIntermediateDirectories: false)
          try scratch.write("late/mine", "mine")
        }
      } == .exists)
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.at("late")) == ["mine"])
    #expect(try scratch.names() == ["file", "late", "out"])
  }

  @Test func leavesNothingAfterAnError() throws {
    let scratch = try Scratch()
    #expect(throws: Stopped.self) {
      try OutputDirectory.publish(to: scratch.at("out")) { temporary in
        try fill(temporary)
        throw Stopped()
      }
    }
    #expect(try scratch.names().isEmpty)
  }

  @Test func removesWhatTheDeadLeftAndOnlyThat() throws {
    let scratch = try Scratch()
    for name in [".out.partial-1-0", ".other.partial-1-0"] {
      try FileManager.default.createDirectory(atPath: scratch.at(name), withIntermediateDirectories: false)
      try fill(scratch.at(name))
    }
    try scratch.write(".out.lock", "")
    try OutputDirectory.publish(to: scratch.at("out"), build: fill)
    #expect(try scratch.names() == [".other.partial-1-0", "out"])
  }

  @Test func aLiveWriterKeepsOthersOut() throws {
    let scratch = try Scratch()
    try OutputDirectory.publish(to: scratch.at("out")) { temporary in
      try fill(temporary)
      // A second descriptor meets the lock as a second process does.
      #expect(kind { try OutputDirectory.publish(to: scratch.at("out"), build: fill) } == .busy)
      #expect(FileManager.default.fileExists(atPath: temporary + "/file"))
    }
    #expect(try scratch.names() == ["out"])
  }

  @Test func aClaimKeepsOthersOutFromTheStart() throws {
    let scratch = try Scratch()
    var claim: OutputClaim? = try OutputClaim(scratch.at("deep/er/out"))
    let text = message { _ = try OutputClaim(scratch.at("deep/er/out/")) }
    #expect(text.contains("process \(ProcessInfo.processInfo.processIdentifier) on "), "\(text)")
    #expect(text.contains(".out.lock"))
    // Another destination in the same directory is free.
    try OutputDirectory.publish(to: scratch.at("deep/er/other"), build: fill)
    try claim?.publish(build: fill)
    claim = nil
    #expect(try FileManager.default.contentsOfDirectory(atPath: scratch.at("deep/er")).sorted() == ["other", "out"])
    #expect(kind { _ = try OutputClaim(scratch.at("deep/er/out")) } == .exists)
  }

  @Test func aClaimThatCameToNothingLeavesNothing() throws {
    let scratch = try Scratch()
    var claim: OutputClaim? = try OutputClaim(scratch.at("deep/er/out"))
    #expect(FileManager.default.fileExists(atPath: scratch.at("deep/er/.out.lock")))
    withExtendedLifetime(claim) {}
    claim = nil
    #expect(try scratch.names().isEmpty)
    // What others put there meanwhile is left.
    claim = try OutputClaim(scratch.at("deep/er/out"))
    try scratch.write("deep/mine", "")
    claim = nil
    #expect(try FileManager.default.subpathsOfDirectory(atPath: scratch.path).sorted() == ["deep", "deep/mine"])
  }

  @Test func aLockThatNobodyHoldsIsNoObstacle() throws {
    let scratch = try Scratch()
    for contents in ["", "1 elsewhere 2020-01-01 00:00:00 UTC\n", "\u{1B}[31m", String(repeating: "x", count: 5000)] {
      try scratch.write(".out.lock", contents)
      let claim = try OutputClaim(scratch.at("out"))
      withExtendedLifetime(claim) {}
    }
    #expect(try scratch.names().isEmpty)
  }

  @Test(arguments: ["", "/", ".", "..", "a/..", "a\0b"])
  func refusesPathsWithoutAName(_ path: String) {
    #expect(throws: CheckpointError.self) { try OutputDirectory.publish(to: path) { _ in } }
  }

  @Test func saysSoWhereAFileIsInTheWay() throws {
    let scratch = try Scratch()
    try scratch.write("file", "")
    #expect(message { try OutputDirectory.publish(to: scratch.at("file/out")) { _ in } }.contains("in the way"))
  }

  @Test func finishedMeansAWholeCheckpoint() throws {
    let scratch = try Scratch()
    #expect(!OutputDirectory.isFinished(scratch.at("gone")))
    try scratch.write("model.safetensors", CheckpointReaderTests.one)
    #expect(!OutputDirectory.isFinished(scratch.path))
    try scratch.write("config.json", "{}")
    #expect(OutputDirectory.isFinished(scratch.path))
    try scratch.write("model.safetensors", Array(CheckpointReaderTests.one.dropLast()))
    #expect(!OutputDirectory.isFinished(scratch.path))
  }

  @Test func aFileIsReplacedAtOnce() throws {
    let scratch = try Scratch()
    try scratch.write(".scores.json.partial-1-0", "left by a dead process")
    try AtomicFile.write("one", to: scratch.at("scores.json"))
    try AtomicFile.write("two", to: scratch.at("scores.json"))
    #expect(try scratch.read("scores.json") == Array("two".utf8))
    #expect(try scratch.names() == ["scores.json"])
    #expect(throws: CheckpointError.self) { try AtomicFile.write("x", to: scratch.at("gone/file")) }
    try FileManager.default.createDirectory(atPath: scratch.at("dir"), withIntermediateDirectories: false)
    #expect(throws: CheckpointError.self) { try AtomicFile.write("x", to: scratch.at("dir")) }
    #expect(try scratch.names() == ["dir", "scores.json"])
  }
}
