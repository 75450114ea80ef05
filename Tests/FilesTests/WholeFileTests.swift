import Files
import Foundation
import JSON
import Testing

@Suite struct WholeFileTests {
  /// What is said of a file with this content; empty where it can be read.
  private func said(_ text: String, limit: Int = 1 << 20) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("whole-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    do { _ = try WholeFile.object(path, limit: limit) } catch {
      #expect("\(error)".contains(path))
      return "\(error)"
    }
    return ""
  }

  @Test(arguments: [
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
    "version https://hawser.github.com/spec/v1\noid sha256:4d7a2146\nsize 1\n",
  ])
  func knowsPointersOfGitLFS(_ text: String) throws {
    #expect(try said(text).contains("git lfs pull"))
    #expect(GitLFS.isPointer(text.utf8.prefix(100)))
  }

  @Test func tellsOtherTextsFromPointers() throws {
    for text in ["", "version", "version https://example.org/spec/v1", #"{"version": "https://git-lfs.github.com"}"#] {
      #expect(!GitLFS.isPointer(text.utf8))
    }
  }

  @Test func saysWhatIsWrong() throws {
    #expect(try said("\u{feff}{\"a\": NaN}") == "")
    #expect(try said("").contains("is empty"))
    #expect(try said("[]").contains("a list, where an object"))
    #expect(try said("{").contains("not valid JSON"))
    #expect(try said("{}" + String(repeating: " ", count: 100), limit: 50).contains("at most 50"))
    #expect(throws: FileError.self) { try WholeFile.read("/", limit: 1) }
    #expect(throws: FileError.self) { try WholeFile.read("a\0b", limit: 1) }
    #expect(try WholeFile.objectIfPresent("/nonexistent/config.json") == nil)
    #expect(try WholeFile.objectIfPresent("a\0b") == nil)
    #expect(throws: FileError.self) { try WholeFile.objectIfPresent("/dev/null") }
  }
}
