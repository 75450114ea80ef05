public import ArgumentParser
import Formatting
import Hub
import JSON
import Jobs
import Report

/// `coppice download`: a model or a data set of the hub, into its cache.
public struct DownloadCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "download",
    abstract: "Fetch a model or a data set of the Hugging Face hub ahead of time; prints where it is.",
    discussion: """
      Into the cache that huggingface_hub's programs use too (HF_HOME), and what is there already is not fetched again. Of a \
      model: settings, tokenizer, documents and the weights in safetensors. What was cut short goes on where it was.
      """)

  @Argument(help: ArgumentHelp("OWNER/NAME on the hub.", valueName: "name"))
  var name: String

  @Option(
    name: .flag("revision"), parsing: .unconditional,
    help: ArgumentHelp("A branch, tag or commit (default: main).", valueName: "name"))
  var revision: String?

  @Option(name: .flag("repo_type"), help: ArgumentHelp("model or dataset.", valueName: "type"))
  var kind = RepositoryKind.model

  @Option(
    name: .flag("include"), parsing: .upToNextOption,
    help: ArgumentHelp("Only files whose paths match, such as '*.json'; never pickles.", valueName: "pattern"))
  var patterns: [String] = []

  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    try usage {
      _ = try Repository(name.split(separator: "@").first.map(String.init) ?? "", kind)
      if let revision { _ = try Revision(revision) }
    }
  }

  public func run() throws {
    let console = output.console
    var request = DownloadRequest(name: name)
    (request.kind, request.revision, request.patterns) = (kind, revision, patterns)
    let outcome = try DownloadJob(request, listeners: [ConsoleListener(console, json: output.json)]).run()
    guard output.json else {
      console.note(
        "\(outcome.files) file\(outcome.files == 1 ? "" : "s"), \(Format.bytes(outcome.bytes)), of commit \(outcome.revision.prefix(7)); "
          + (outcome.fetchedBytes == 0 ? "all were there" : "\(Format.bytes(outcome.fetchedBytes)) fetched"))
      return try console.result(outcome.directory)
    }
    try console.result(
      JSON.object([
        ("directory", .text(outcome.directory)), ("revision", .text(outcome.revision)), ("files", .int(outcome.files)),
        ("bytes", .int(outcome.bytes)), ("fetched_bytes", .int(outcome.fetchedBytes)),
      ]).serialized(indent: 2))
  }
}

extension RepositoryKind: ExpressibleByArgument {}
