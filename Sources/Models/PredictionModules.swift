import Checkpoint

/// Modules after the last layer that predict tokens further ahead from its output, so that a model can draft for itself:
/// multi-token prediction (DeepSeek-V3, arXiv 2412.19437, section 2.2; vLLM's `deepseek_mtp.py`, `qwen3_next_mtp.py`).
///
/// Nothing here computes with them. They are left out, or kept with `hidden_size` and their number after the layers following
/// the rest; no other size of theirs can be cut, since no activations say what to keep.
public struct PredictionModules: Sendable {
  /// What the names of their tensors begin with.
  let prefixes: [String]
  /// The config's key of how many there are.
  let field: String
  /// The weights of each. `{layer}` in a name counts on from the last layer.
  let modules: [[Weight]]
  /// Why they cannot be kept; nil where they can.
  var obstacle: String?

  /// - Parameters:
  ///   - prefixes: what the names of their tensors begin with.
  ///   - field: the config's key of how many there are.
  ///   - modules: the weights of each.
  init(prefixes: [String], field: String, modules: [[Weight]]) {
    (self.prefixes, self.field, self.modules) = (prefixes, field, modules)
  }

  /// What joins the embedding of a token and the model's output for the one before: each has a norm, and the two together a map.
  static func stem(_ prefix: String, norms: [String], map: String) -> [Weight] {
    norms.map { Weight(prefix + $0 + ".weight", [.hidden]) }
      + [Weight(prefix + map + ".weight", [.hidden, .hidden + .hidden])]
  }

  /// A layer of the model with its names changed.
  static func renamed(_ layer: LayerDescription, _ from: String, to: String) -> [Weight] {
    layer.weights.map { $0.renamed($0.name.replacing(from, with: to, maxReplacements: 1)) }
  }

  /// Hyperparameters that their weights carry and that cannot change while they are kept.
  var fixed: Set<Hyperparameter> {
    Set(modules.joined().flatMap { $0.axes.flatMap(\.hyperparameters) }).subtracting([.hiddenSize])
  }

  func has(_ name: String) -> Bool { prefixes.contains(where: name.hasPrefix) }

  var note: String {
    "the multi-token-prediction modules (\(prefixes[0])*) are left out, as they were trained on the whole model's hidden states; "
      + "the pruned config says \(field) 0"
  }
}

extension ModelDescription {
  /// The same model with its modules that predict further tokens.
  ///
  /// - Throws: `ModelError` where there are none, or they cannot be kept.
  public func keepingPrediction() throws -> ModelDescription {
    guard let prediction else {
      throw ModelError("a \(family) model with this config has no multi-token-prediction modules to keep")
    }
    if let obstacle = prediction.obstacle {
      throw ModelError("multi-token-prediction modules of a \(family) model cannot be kept: \(obstacle)")
    }
    var description = self
    description.keepsPrediction = true
    description.fixed.formUnion(prediction.fixed)
    return description
  }

  /// Weights of modules that are kept, each with the number of its module.
  public var predictionWeights: [(weight: Weight, module: Int)] {
    guard keepsPrediction, let prediction else { return [] }
    return prediction.modules.enumerated().flatMap { number, weights in weights.map { ($0, number) } }
  }

  func isOfPrediction(_ name: String) -> Bool {
    prediction.map { $0.has(name) || $0.has(names.prefix + name) } ?? false
  }

  /// The line about modules that are left out, for a tensor of theirs.
  func leftOutPrediction(_ name: String) -> String? {
    keepsPrediction || !isOfPrediction(name) ? nil : prediction?.note
  }

  /// The line about what cannot be cut since such modules are kept; nil where they are not.
  public var predictionNote: String? {
    guard keepsPrediction, let prediction else { return nil }
    let fixed = prediction.fixed.map(\.rawValue).sorted().joined(separator: ", ")
    return
      "multi-token-prediction modules are kept: hidden_size and num_layers follow in them, and \(fixed) are not cut, since "
      + "no activations say what to keep of the modules"
  }
}
