import Foundation
import TestSupport
import Testing

/// The help of every command as it is, so that nothing changes in it unnoticed. After a change that is meant:
/// `COPPICE_RECORD_HELP=1 swift test … --filter HelpTests` writes the files anew.
@Suite struct HelpTests {
  private static let folder = Golden.root + "/Tests/CommandTests/Help"

  private static let commands = [
    "prune", "distill", "plan", "inspect", "families", "eval", "generate", "calibrate", "render", "encode", "decode",
    "tokenize",
    "download", "login", "cache", "doctor",
  ]

  @Test(arguments: [""] + commands) func theHelpIsTheOneOnRecord(_ command: String) throws {
    try compare(command.isEmpty ? ["--help"] : ["help", command], "coppice", "coppice \(command)")
  }

  @Test func theReferencesHelpIsTheOneOnRecord() throws { try compare(["--help"], "prune_minitron", "prune_minitron") }

  private func compare(_ arguments: [String], _ program: String, _ title: String) throws {
    let result = try Program.run(arguments, name: program)
    result.expectSuccess()
    let name = title.split(separator: " ").joined(separator: "-")
    let file = "\(Self.folder)/\(name).txt"
    if ProcessInfo.processInfo.environment["COPPICE_RECORD_HELP"] != nil {
      try FileManager.default.createDirectory(atPath: Self.folder, withIntermediateDirectories: true)
      try Data(result.output.utf8).write(to: URL(fileURLWithPath: file))
    }
    let recorded = try String(contentsOfFile: file, encoding: .utf8)
    #expect(result.output == recorded, "\(file): see HelpTests for how to record a change that is meant")
  }
}
