import Checkpoint
import Formatting

// What the cards of pruned and of distilled models have in common.

extension CardMetadata {
  /// The hub's metadata of what is made from a model. Of `base_model_relation` there are adapter, finetune, merge and quantized, none
  /// of which a pruned model is: it is left out.
  ///
  /// - Parameter tags: of the result, besides those of the model.
  func frontMatter(of source: SourceName, tags own: [String]) -> String {
    var text =
      "---\nbase_model: \(YAML.scalar(source.baseModel ?? source.name))\nlibrary_name: transformers\npipeline_tag: text-generation\n"
    for key in ["license", "license_name", "license_link"] {
      if let value = self[key].first { text += "\(key): \(YAML.scalar(value))\n" }
    }
    func list(_ key: String, _ values: [String]) {
      if !values.isEmpty { text += "\(key):\n" + values.map { "- \(YAML.scalar($0))\n" }.joined() }
    }
    list("language", self["language"])
    var tags: [String] = []
    for tag in self["tags"] + own where !tags.contains(tag) { tags.append(tag) }
    list("tags", tags)
    return text + "---\n"
  }
}

extension SourceName {
  /// The name, with a link where the hub has it.
  var linked: String {
    func link(_ id: String) -> String { "[\(Markdown.escaped(id))](https://huggingface.co/\(id))" }
    if isHubID { return link(name) }
    return Markdown.escaped(name) + (baseModel.map { " (made from \(link($0)))" } ?? "")
  }
}
