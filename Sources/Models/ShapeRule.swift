/// A condition on shapes: what an architecture's own loader wants, for example that hidden_size is a multiple of
/// num_attention_heads, or what a runtime wants in which the model is to run.
public struct ShapeRule: Sendable {
  /// Whose rule it is, for messages: "the architecture's own loader".
  public let name: String
  /// What it looks at. A search asks once for each combination of these and takes the answer for all shapes that have
  /// them, so a rule must read no other size that can be pruned.
  public let hyperparameters: Set<Hyperparameter>
  private let check: @Sendable (_ architecture: Architecture) -> String?

  public static let loader = "the architecture's own loader"

  /// - Parameters:
  ///   - name: whose rule it is.
  ///   - check: why a shape is refused; nil when it is taken.
  ///   - hyperparameters: what it looks at.
  public init(
    named name: String, _ hyperparameters: Set<Hyperparameter>,
    _ check: @escaping @Sendable (_ architecture: Architecture) -> String?
  ) {
    self.name = name
    self.hyperparameters = hyperparameters
    self.check = check
  }

  /// A rule of the architecture's own loader about sizes of the whole model.
  ///
  /// - Parameters:
  ///   - check: why the loader refuses these sizes; nil when it takes them.
  ///   - hyperparameters: what it looks at.
  public init(_ hyperparameters: Set<Hyperparameter>, _ check: @escaping @Sendable (_ sizes: Sizes) -> String?) {
    self.init(named: Self.loader, hyperparameters) { check($0.sizes) }
  }

  /// Why a shape is refused; nil when it is taken.
  public func refusal(of architecture: Architecture) -> String? { check(architecture) }
}

extension ModelDescription {
  /// The first rule that refuses a shape, and why; nil when all take it.
  public func refusal(of architecture: Architecture) -> (rule: ShapeRule, reason: String)? {
    for rule in shapeRules {
      if let reason = rule.refusal(of: architecture) { return (rule, reason) }
    }
    return nil
  }
}
