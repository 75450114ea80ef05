import Foundation
import TestSupport
import Testing

/// Libraries speak of parameters, the command line of flags.
@Suite struct MessagesTests {
  /// The command line itself, and files that quote the command lines of other programs.
  private static let exempt = ["CoppiceCommands/", "Jobs/ModelCard.swift", "Jobs/ModelPlace.swift"]

  @Test func noTextOfALibraryNamesAFlag() throws {
    let root = Golden.root + "/Sources"
    let files = try #require(FileManager.default.enumerator(atPath: root)).compactMap { $0 as? String }
    for file in files where file.hasSuffix(".swift") && !Self.exempt.contains(where: file.hasPrefix) {
      let source = try String(contentsOfFile: root + "/" + file, encoding: .utf8)
      for (number, line) in source.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
        let code = line.firstRange(of: "//").map { line[..<$0.lowerBound] } ?? line
        #expect(!code.contains(/--[a-z]/), "\(file):\(number + 1): \(line)")
      }
    }
  }
}
