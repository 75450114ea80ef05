import Files
import JSON

/// The tokens that end a text: `eos_token_id` of generation_config.json and of config.json, one number or several,
/// and the tokenizer's own.
public struct StopTokens: Sendable {
  public let ids: Set<Int>

  /// - Throws: `TokenizerError` for an `eos_token_id` that is no number; what reading the files throws.
  public init(directory: String, tokenizer: Tokenizer) throws {
    var ids = Set([tokenizer.eosTokenID].compactMap { $0 })
    for name in ["generation_config.json", "config.json"] {
      let file = directory + "/" + name
      guard let settings = try WholeFile.objectIfPresent(file) else { continue }
      do { ids.formUnion(try TokenIDs(settings["eos_token_id"]).ids) } catch {
        throw TokenizerError("\(file): \"eos_token_id\" \(error)")
      }
    }
    self.ids = ids
  }
}
