public import Datasets
public import Execution
public import JSON
public import Models
import Synchronization
public import Tokenization

/// Something that models are measured on, item by item: questions, rows of text.
///
/// The higher a score the better. Scores of items are sums with weights (`ItemScores`), so that those of some items can
/// be added to those of others, and candidates compared on the items that both were asked.
public protocol ItemTask {
  /// What an item is, in the plural: "questions", "rows".
  var unit: String { get }
  /// How many items there are.
  var count: Int { get }
  /// Tokens of all items together.
  var tokenCount: Int { get }
  /// Tokens of the longest item.
  var longest: Int { get }
  /// Whether scores are shares of one (an accuracy), which people read as per cent.
  var isShare: Bool { get }
  /// What scores depend on besides model and calibration, by name: settings, hashes of data.
  var madeOf: [(name: String, value: String)] { get }
  /// Items that belong together and have a score of their own, in order of their names: MMLU's subjects. Often none.
  var parts: [(name: String, items: [Int])] { get }

  /// What scoring these items (nil: all) will read and hold.
  func plan(_ executor: Executor, subjects: [Selection], items: [Int]?) -> WalkPlan

  /// Scores items for each candidate in as few walks over the weights as the executor's memory allows.
  ///
  /// - Parameters:
  ///   - subjects: what is kept of the model, perhaps with weights of its own, one for each candidate.
  ///   - items: numbers of items; nil for all. Others have weight zero.
  ///   - partial: has the scores as they are found, and says where to save them.
  ///   - progress: called with the work done and all of it.
  ///   - answered: called with what there is to tell of an item besides its score, where there is something. Not for
  ///     what `partial` restored.
  ///   - executor: walks the model.
  /// - Throws: `EvaluationError` for results that are not finite; what the executor throws.
  func score(
    _ executor: Executor, subjects: [Subject], items: [Int]?, partial: PartialScores,
    progress: (_ done: Int, _ total: Int) -> Void,
    answered: (_ subject: Int, _ item: Int, _ answer: JSON) throws -> Void
  ) throws -> [ItemScores]
}

extension ItemTask {
  public var parts: [(name: String, items: [Int])] { [] }
}

/// How candidates are scored, by name; its data is looked for later, by `task`.
public protocol ScoreFunction: Sendable {
  /// How its names look, for messages.
  static var form: String { get }
  /// - Parameter name: such as `mmlu_10pct_bs1`. Nil when it is not one of this function's.
  init?(name: String)
  /// Finds the data and makes the task.
  ///
  /// - Throws: `EvaluationError` when there is no such data; what is wrong with it.
  func task(_ sources: any TaskSources) throws -> any ItemTask
}

/// Where a score function finds what it scores on.
public protocol TaskSources {
  var tokenizer: Tokenizer { get }
  /// Questions in MMLU's layout: a file, a directory or a name of the hub; nil where none are named.
  var questions: String? { get }
  /// Where data of the hub are to be had; nil where none are.
  var places: (any DatasetPlaces)? { get }
  /// Questions in GSM8K's layout: a file, a directory or a name of the hub; nil where none are named.
  var numberQuestions: String? { get }
  /// Examples put before each question; nil for as many as the score function takes by itself.
  var fewShots: Int? { get }
  /// The tokens that end what the model writes.
  func stops() throws -> Set<Int>
  /// A conversation as the model's chat template writes it, up to where the answer begins.
  ///
  /// - Parameter messages: a list of objects with `role` and `content`.
  func chat(_ messages: JSON) throws -> String
  /// Rows of text that nothing else was measured on, and what they are made of (names and values for `ItemTask.madeOf`).
  func rows() throws -> (rows: [[Int32]], madeOf: [(name: String, value: String)])
}

extension TaskSources {
  public var places: (any DatasetPlaces)? { nil }
  public var numberQuestions: String? { nil }
  public func stops() throws -> Set<Int> { Set([tokenizer.eosTokenID].compactMap { $0 }) }
  public func chat(_ messages: JSON) throws -> String { throw EvaluationError("there is no chat template here") }
}

/// Every score function there is, one line each.
public enum ScoreFunctions {
  private static let own: [any ScoreFunction.Type] = [
    MMLUScore.self, ExactScore.self, NegativeLoss.self, NegativeDivergence.self,
  ]
  private static let added = Mutex<[any ScoreFunction.Type]>([])

  /// Those of this package, then those that were registered.
  public static var all: [any ScoreFunction.Type] { own + added.withLock { $0 } }

  /// Adds a score function of another package, which is found by its name from now on. May be called from any thread.
  public static func register(_ function: any ScoreFunction.Type) {
    added.withLock { functions in
      if !functions.contains(where: { $0 == function }) { functions.append(function) }
    }
  }

  /// The function of this name; nil when there is none.
  public static func named(_ name: String) -> (any ScoreFunction)? {
    for function in all { if let found = function.init(name: name) { return found } }
    return nil
  }

  /// How the names of all of them look: "a, b or c".
  public static var forms: String {
    let forms = all.map { $0.form }
    return forms.dropLast().joined(separator: ", ") + " or " + (forms.last ?? "")
  }
}
