public import ArgumentParser
import Tokenization

/// `coppice encode`: one JSON string per line in, the JSON list of its ids per line out. Needs no libtorch.
public struct EncodeCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "encode",
    abstract: "Encode text: a JSON string per line on standard input, a JSON list of ids per line out.")

  @OptionGroup var model: ModelOptions

  @Flag(name: .flag("no_special_tokens"), help: "Put no special tokens before or behind the text.")
  var noSpecialTokens = false

  public init() {}

  public func run() throws {
    try TokenizerLines.encode(Tokenizer(directory: model.directory(.tokenizer)), addSpecialTokens: !noSpecialTokens)
  }
}

/// `coppice decode`: one JSON list of ids per line in, the JSON string they stand for per line out.
public struct DecodeCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "decode",
    abstract: "Decode ids: a JSON list of ids per line on standard input, a JSON string per line out.")

  @OptionGroup var model: ModelOptions

  @Flag(name: .flag("skip_special_tokens"), help: "Leave special tokens out of the text.")
  var skipSpecialTokens = false

  public init() {}

  public func run() throws {
    try TokenizerLines.decode(Tokenizer(directory: model.directory(.tokenizer)), skipSpecialTokens: skipSpecialTokens)
  }
}
