import Checkpoint
import Files
import Hub
import Messages

/// Which files of a model's repository a run reads.
public enum ModelNeed: Sendable {
  /// `config.json`, for counts.
  case config
  /// That, and all that makes tokens of text.
  case tokenizer
  /// The whole checkpoint: weights in one format, and what a result takes along.
  case everything
}

/// The files of a model's repository: safetensors, settings, tokenizer, templates and documents; never pickles, and one
/// format of weights.
struct ModelFiles {
  let repository: Repository
  let files: [RepositoryFile]

  static let config = "config.json"
  static let weights = WeightFiles.single
  static let index = ShardIndex.name

  /// Files that programs look for and do without.
  private static let optional = [
    "adapter_config.json", "added_tokens.json", "chat_template.jinja", "generation_config.json", index, weights,
    "special_tokens_map.json", "tokenizer.model",
  ]

  /// Of `optional`, what the repository does not have.
  var absent: [String] {
    let there = Set(files.map(\.path))
    return Self.optional.filter { !there.contains($0) }
  }

  /// All but weights. The index is among them where the weights are in several files; it says what else is wanted.
  ///
  /// - Throws: `RunError` for what is no checkpoint, or one without safetensors where those are needed.
  func settings(_ need: ModelNeed) throws -> [RepositoryFile] {
    guard let config = file(Self.config) else {
      let settings = files.map(\.path).filter { $0.hasSuffix("/" + Self.config) }
      throw RunError(
        """
        \(repository) has no config.json\(settings.isEmpty ? "" : " but in folders (\(settings.prefix(3).joined(separator: ", ")))"): \
        it is no checkpoint of transformers
        """)
    }
    let index = file(Self.weights) == nil ? [file(Self.index)].compactMap { $0 } : []
    guard need != .everything || file(Self.weights) != nil || !index.isEmpty else {
      throw RunError("\(repository) has no safetensors: \(advice)")
    }
    switch need {
    case .config: return [config]
    case .tokenizer: return [config] + companions
    case .everything: return [config] + index + companions
    }
  }

  private var companions: [RepositoryFile] { files.filter { Companions.isCompanion(path: $0.path) } }

  /// The files of weights.
  ///
  /// - Parameter index: the path of the cached index, where there is one.
  /// - Throws: `RunError` for an index that names other files than there are; `CheckpointError` for a damaged one.
  func weights(index: String?) throws -> [RepositoryFile] {
    if let whole = file(Self.weights) { return [whole] }
    guard let index else { throw RunError("\(repository) has no \(Self.index) in the cache") }
    return try ShardIndex(path: index).files.map { name in
      guard let file = file(name) else {
        throw RunError("the index of \(repository) names \(name.debugDescription), which the repository does not have")
      }
      return file
    }
  }

  private func file(_ path: String) -> RepositoryFile? { files.first { $0.path == path } }

  private var advice: Message {
    let paths = files.map(\.path)
    if paths.contains(where: { $0.hasSuffix(".gguf") }) {
      return "it holds GGUF files for llama.cpp; name the model that those were made from"
    }
    if paths.contains(where: Pickles.isPickle) {
      return """
        its weights are pickles, which are not read, since they may run code. Look for a revision with safetensors (the \
        hub's converter opens pull requests: \(parameter: "revision") refs/pr/1), or convert it with transformers' save_pretrained
        """
    }
    if paths.contains("adapter_model.safetensors") {
      return "it is an adapter; merge it into its base model and name the result"
    }
    return Message(paths.isEmpty ? "it is empty" : "there are " + paths.prefix(5).joined(separator: ", "))
  }
}
