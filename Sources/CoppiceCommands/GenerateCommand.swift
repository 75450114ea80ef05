public import ArgumentParser
import ChatTemplates
import Execution
import Formatting
import Foundation
import JSON
import Jobs
import Models
import Report
import Tokenization

/// `coppice generate`: text from a model, to look at a result.
public struct GenerateCommand: ComputingCommand {
  public static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Continue a prompt, greedily or by chance; text appears as it comes.")

  @OptionGroup(title: "Model") var model: ModelOptions

  @Option(
    name: .flag("prompt"), parsing: .unconditional,
    help: ArgumentHelp("The text to continue; - reads standard input.", valueName: "text"))
  var prompt: String

  @Option(name: .flag("max_new_tokens"), help: ArgumentHelp("Stop after so many tokens.", valueName: "n"))
  var maxNewTokens = 128

  @Option(name: .flag("temperature"), help: ArgumentHelp("0: always the most likely token.", valueName: "t"))
  var temperature = 0.0

  @Option(
    name: .flag("top_p"),
    help: ArgumentHelp("Only the most likely tokens of together this probability.", valueName: "p"))
  var topP = 1.0

  @Option(name: .flag("top_k"), help: ArgumentHelp("Only the k most likely tokens; 0: all.", valueName: "k"))
  var topK = 0

  @Option(name: .flag("seed"), help: ArgumentHelp("The same seed, the same text.", valueName: "n"))
  var seed: UInt64 = 0

  @Flag(name: .flag("no_special_tokens"), help: "Put no special tokens before or behind the prompt.")
  var noSpecialTokens = false

  @Flag(
    name: .flag("chat"),
    help: "Make the prompt a user's message by the checkpoint's chat template, and generate the answer to it.")
  var isChat = false

  @Option(
    name: .flag("system"), parsing: .unconditional,
    help: ArgumentHelp("With --chat: the message that comes before it, as the system's.", valueName: "text"))
  var system: String?

  @OptionGroup(title: "Computation") var compute: ComputeOptions
  @OptionGroup(title: "Output") var output: OutputOptions

  public init() {}

  public mutating func validate() throws {
    try atLeast(1, maxNewTokens, flag: "--max_new_tokens")
    try atLeast(0, topK, flag: "--top_k")
    guard temperature >= 0, temperature.isFinite else {
      throw ValidationError("--temperature should be a finite number from 0 up, found \(temperature)")
    }
    guard system == nil || isChat else { throw ValidationError("--system is a message of --chat; add --chat") }
    guard topP > 0, topP <= 1 else {
      throw ValidationError("--top_p should be above 0 and at most 1, found \(topP)")
    }
  }

  public func run() throws {
    let console = output.console
    let unused = try UnusedFlags(of: Self.self, console)
    unused.note(["top_k", "top_p", "seed"], unless: temperature > 0, "without --temperature above 0")
    unused.note(["no_special_tokens"], unless: !isChat, "with --chat, whose template says which there are")
    let source = try SourceModel(directory: model.directory(console: console))
    console.say(of: source)
    let compute = try compute.parameters()
    let dtype = try compute.dtype(for: source)
    let tokenizer = try Tokenizer(directory: source.checkpoint.directory)
    let ids = try encodedPrompt(tokenizer, source.checkpoint.directory)
    guard !ids.isEmpty else { throw ModelError("the prompt holds no token: there is nothing to continue") }
    let stops = try StopTokens(directory: source.checkpoint.directory, tokenizer: tokenizer).ids
    let (most, overflow) = ids.count.addingReportingOverflow(maxNewTokens)
    if let limit = source.description.exceededPositions(overflow ? .max : most) {
      let text = "\(ids.count) tokens of prompt and up to \(maxNewTokens) new ones"
      console.warn(RunWarning.tooLong(text, limit: limit))
    }

    console.note("continuing \(Format.grouped(ids.count)) tokens, in \(dtype)")
    if compute.computeType == .bfloat16, let hint = try compute.typeHint(for: source) { console.note(hint.flagged) }
    let generator = try Generator(source, dtype: dtype, device: compute.device.place())
    var sampler = Sampler(temperature: temperature, topK: topK, topP: topP, seed: seed)
    var stream = TextStream(tokenizer, after: ids)
    var (text, new) = ("", [Int]())
    var stopped = "length"
    var pending = ids.map { Int32(clamping: $0) }
    func emit(_ piece: String) throws {
      text += piece
      guard !output.json, !piece.isEmpty else { return }
      do { try FileHandle.standardOutput.write(contentsOf: Data(piece.utf8)) } catch {
        throw ModelError("standard output takes no more text: \(error.localizedDescription)")
      }
    }
    while new.count < maxNewTokens {
      let token = try source.checkpoint.blamingChanges {
        try sampler.next(generator.logits(appending: pending).floats())
      }
      if stops.contains(token) {
        stopped = "eos"
        break
      }
      new.append(token)
      pending = [Int32(clamping: token)]
      try emit(stream.append(token))
    }
    try emit(stream.finish())
    // Text of changed weights is no result; what was printed already is followed by the error.
    try source.checkpoint.checkUnchanged()
    guard output.json else { return try emit("\n") }
    try console.result(
      JSON.object([
        ("text", .text(text)), ("tokens", .array(new.map(JSON.int))), ("prompt_tokens", .int(ids.count)),
        ("stopped", .text(stopped)), ("compute_dtype", .text("\(dtype)")),
      ]).serialized(indent: 2))
  }

  /// The ids of the prompt; of a chat they are those of the rendered text, whose special tokens the template wrote.
  private func encodedPrompt(_ tokenizer: Tokenizer, _ directory: String) throws -> [Int] {
    let text = prompt == "-" ? try Self.standardInput() : Array(prompt.utf8)
    guard isChat else { return try tokenizer.encode(utf8: text, addSpecialTokens: !noSpecialTokens) }
    guard String(validating: text, as: UTF8.self) != nil else { throw ModelError("the prompt is not UTF-8 text") }
    func message(_ role: String, _ content: JSON) -> JSON { .object([("role", .text(role)), ("content", content)]) }
    let messages = [system.map { message("system", .text($0)) }, message("user", .string(JSON.Text(utf8: text)))]
    let template = try ChatTemplate(directory: directory)
    let rendered = try template.render(messages: .array(messages.compactMap { $0 }), addGenerationPrompt: true)
    return try tokenizer.encode(rendered, addSpecialTokens: false)
  }

  private static func standardInput() throws -> [UInt8] {
    do { return [UInt8](try FileHandle.standardInput.readToEnd() ?? Data()) } catch {
      throw ModelError("standard input cannot be read: \(error.localizedDescription)")
    }
  }
}
