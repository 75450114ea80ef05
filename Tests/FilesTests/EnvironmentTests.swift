import Files
import Foundation
import Testing

/// Where caches and temporary files go.
@Suite struct EnvironmentTests {
  private func environment(_ values: [String: String], passwordHome: String? = "/home/entry") -> Environment {
    Environment(lookup: { values[$0] }, passwordHome: { passwordHome })
  }

  @Test func theCacheFollowsTheXDGSpecification() {
    #expect(environment(["HOME": "/home/me"]).cacheDirectory == "/home/me/.cache/coppice")
    #expect(environment(["HOME": "/home/me", "XDG_CACHE_HOME": "/x"]).cacheDirectory == "/x/coppice")
    // Empty is unset, relative is ignored.
    for unset in ["", "relative", "./x"] {
      #expect(
        environment(["HOME": "/home/me", "XDG_CACHE_HOME": unset]).cacheDirectory == "/home/me/.cache/coppice")
    }
    #expect(environment(["COPPICE_CACHE": "/c", "XDG_CACHE_HOME": "/x"]).cacheDirectory == "/c")
    #expect(environment(["COPPICE_CACHE": "", "XDG_CACHE_HOME": "/x"]).cacheDirectory == "/x/coppice")
  }

  @Test func withoutHOMEThePasswordFileIsAsked() {
    for home in [[:], ["HOME": ""], ["HOME": "relative"]] {
      #expect(environment(home).cacheDirectory == "/home/entry/.cache/coppice")
      #expect(environment(home, passwordHome: nil).cacheDirectory == nil)
      #expect(environment(home, passwordHome: "").cacheDirectory == nil)
    }
    #expect(environment(["HOME": "/"]).cacheDirectory == "/.cache/coppice")
  }

  @Test func aTMPDIRThatIsNoDirectoryIsPassedOver() throws {
    let scratch = try Scratch()
    try Data().write(to: URL(fileURLWithPath: scratch.at("file")))
    #expect(environment(["TMPDIR": scratch.path]).temporaryDirectory == scratch.path)
    for wrong in ["", scratch.at("file"), scratch.at("gone")] {
      #expect(environment(["TMPDIR": wrong]).temporaryDirectory == "/tmp")
    }
    #expect(environment([:]).temporaryDirectory == "/tmp")
  }
}

/// A directory that goes away with the test.
final class Scratch {
  let path: String

  init() throws {
    let made = FileManager.default.temporaryDirectory.appendingPathComponent("files-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: made, withIntermediateDirectories: true)
    path = resolvedPath(made.path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func at(_ name: String) -> String { path + "/" + name }

  @discardableResult
  func write(_ name: String, _ bytes: [UInt8]) throws -> String {
    try Data(bytes).write(to: URL(fileURLWithPath: at(name)))
    return at(name)
  }
}
