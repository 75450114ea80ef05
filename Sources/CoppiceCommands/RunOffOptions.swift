import ArgumentParser
import Formatting
import Jobs

/// Whether the best candidates of a search learn from the original before the choice between them.
struct RunOffOptions: ParsableArguments {
  @Option(
    name: .flag("kd_runoff"),
    help: ArgumentHelp(
      "Let the four best candidates learn from the original on so many tokens of calibration text, such as 2M, and choose by KL on rows that are held back.",
      valueName: "tokens"))
  var tokens: String?

  @Option(
    name: .flag("kd_runoff_lr"), help: ArgumentHelp("The highest learning rate of the run-off.", valueName: "rate"))
  var rate = PruneRequest.defaults.runOffRate

  mutating func validate() throws { _ = try count() }

  /// - Throws: `ValidationError`.
  func count() throws -> Int? { try parseCount(tokens, flag: "--kd_runoff") }
}

/// A number as people write it, such as 2M; nil where none is given.
///
/// - Throws: `ValidationError`.
func parseCount(_ text: String?, flag: String) throws -> Int? {
  guard let text else { return nil }
  do { return try Format.parseCount(text) } catch { throw ValidationError("\(flag): \(error)") }
}
