import ArgumentParser
import Evaluation
import Jobs
import Report

/// Flags that were given and change nothing: a note says so, and why.
struct UnusedFlags {
  /// Without their dashes, in the order they were given in.
  private let given: [String]
  private let console: Console

  /// - Parameter command: whose flags the words of this process's command line are.
  init(of command: any ParsableCommand.Type, _ console: Console) throws {
    let isAlone = Entry.isNamed(PruneMinitronCommand.self)
    let words = Entry.arguments(of: PruneMinitronCommand.self).dropFirst(isAlone ? 1 : 2)
    given = try Arguments.options(in: words, of: command).map { String($0.dropFirst(2)) }
    self.console = console
  }

  /// Notes those of these flags that were given, unless they are used.
  func note(_ flags: [String], unless isUsed: Bool, _ why: String) {
    if !isUsed { note(given.filter(Set(flags).contains), why) }
  }

  /// Notes all that were given but these.
  func note(allBut used: Set<String>, _ why: String) { note(given.filter { !used.contains($0) }, why) }

  private func note(_ unused: [String], _ why: String) {
    if !unused.isEmpty {
      console.note("without effect \(why): \(unused.map { "--" + $0 }.joined(separator: ", "))")
    }
  }

  /// Those of `prune`.
  func noteAll(_ request: PruneRequest) {
    let isSearch = !request.search.isByHand
    let (score, function) = (request.scoreFunction, request.scoreFunction.function)
    let (asksChoices, asksNumbers) = (function is MMLUScore, function is ExactScore)
    let readsText = function is NegativeLoss || function is NegativeDivergence
    // Of a function of another package nothing is known.
    let isForeign = !asksChoices && !asksNumbers && !readsText
    let text = ["eval_dataset_name", "eval_num_samples"]
    let ofSearches = [
      "top_k", "racing", "prune_score_func", "prefilter", "ss_channel_divisor", "max_width_pruning",
      "max_depth_pruning",
      "hparams_to_skip", "few_shots", "mmlu_dataset", "exact_dataset", "refit_candidates",
    ]
    note(ofSearches + text, unless: isSearch, "where the architecture is given by hand")
    if isSearch {
      note(["mmlu_dataset"], unless: asksChoices || isForeign, "on scores by \(score)")
      note(["exact_dataset"], unless: asksNumbers || isForeign, "on scores by \(score)")
      note(["few_shots"], unless: !readsText, "on scores by \(score)")
      note(text, unless: readsText || isForeign, "on scores by \(score)")
      note(["refit_candidates"], unless: request.refit == .sequential, "without --refit sequential")
    }
    note(["refit_rows"], unless: request.refit != .none, "without --refit")
    note(["layer_score_rows"], unless: request.layerScore == .kl, "without --layer_score kl")
    note(["kd_runoff_lr"], unless: request.runOffTokens != nil, "without --kd_runoff")
  }
}
