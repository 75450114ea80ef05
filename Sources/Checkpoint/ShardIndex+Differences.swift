import JSON

/// Published indices name tensors that no shard holds, leave out some that are there, or name shards that were not
/// downloaded. The shards have the last word; this finds the words for the differences.
extension ShardIndex {
  /// One sentence for each kind of difference; none where index and shards say the same.
  func notes(_ weights: WeightFiles) -> [String] {
    var notes: [String] = []
    func add(_ names: [String], _ what: (_ tensors: String, _ are: String) -> String) {
      guard let first = names.first else { return }
      let tensors = names.count == 1 ? "tensor \"\(first)\"" : "\(names.count) tensors (\"\(first)\", …)"
      notes.append("\(path) \(what(tensors, names.count == 1 ? "is" : "are"))")
    }
    let sorted = shards.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    add(sorted.filter { weights.positions[$0] == nil }.map(\.description)) { tensors, _ in
      "names \(tensors) that no shard here holds"
    }
    add(weights.tensors.map(\.name).filter { shards[JSON.Text($0)] == nil }) { tensors, are in
      "does not name \(tensors) that \(are) in the shards"
    }
    let elsewhere = weights.tensors.filter { tensor in
      shards[JSON.Text(tensor.name)].map { $0 != tensor.file } ?? false
    }
    add(elsewhere.map(\.name)) { tensors, are in
      "puts \(tensors) into another shard than \(are == "is" ? "it is" : "they are") in"
    }
    if !notes.isEmpty { notes[notes.count - 1] += "; what the shards hold is used" }
    return notes
  }

  /// Where the index has tensors that no shard holds, and what to do.
  func whereabouts(of missing: [String], in weights: WeightFiles) -> String {
    guard let name = missing.first(where: { shards[JSON.Text($0)] != nil }), let file = shards[JSON.Text(name)] else {
      let unnamed = weights.unnamed
      if let first = unnamed.first {
        let more = unnamed.count > 1 ? " and \(unnamed.count - 1) more, which are there" : ", which is there"
        return "\(path) does not name the file \(first)\(more). \(Self.rewrite)"
      }
      return "\(path) does not name \(missing.count == 1 ? "it" : "them") either: is a shard missing?"
    }
    return weights.absent.contains(file)
      ? "\(path) puts \"\(name)\" into \(file), which is not there: download it"
      : "\(path) puts \"\(name)\" into \(file), which does not hold it: index and shards are not of the same "
        + "checkpoint. Download both again. \(Self.rewrite)"
  }

  static let rewrite =
    "A new index can be written from the headers of the shards, in their directory: python -c 'import glob, json; from "
    + #"safetensors import safe_open as o; m = {k: f for f in sorted(glob.glob("*.safetensors")) for k in "#
    + #"o(f, "pt").keys()}; json.dump({"metadata": {}, "weight_map": m}, open("model.safetensors.index.json", "w"))'"#
}
