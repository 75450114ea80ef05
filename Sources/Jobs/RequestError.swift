public import Messages

/// A request that cannot be met whatever the model and the data are: a value out of range, two that contradict each
/// other, an output inside the model.
public struct RequestError: MessageError, Sendable {
  public let message: Message
  public init(_ message: Message) { self.message = message }
}

/// Why a run failed that was asked for properly: what is missing, damaged or does not fit together.
public struct RunError: MessageError, Sendable {
  public let message: Message
  public init(_ message: Message) { self.message = message }
}

/// - Throws: `RequestError` when `value` is below `least`.
package func atLeast(_ least: Int, _ value: Int, _ parameter: String) throws {
  guard value >= least else {
    throw RequestError("\(parameter: parameter) should be at least \(least), found \(value)")
  }
}

/// - Throws: `RequestError` when `value` is not a number above zero.
package func positive(_ value: Double, _ parameter: String) throws {
  guard value > 0, value.isFinite else {
    throw RequestError("\(parameter: parameter) should be a number above zero, found \(value)")
  }
}

/// Caches grow with rows × tokens: keeps their product within what can be counted.
///
/// - Throws: `RequestError`.
package func checkCacheSize(rows: Int, tokens: Int) throws {
  try atLeast(1, tokens, "seq_length")
  try atLeast(1, rows, "inference_batch_size")
  let (product, overflow) = rows.multipliedReportingOverflow(by: tokens)
  guard !overflow, product <= 1 << 31 else {
    throw RequestError(
      """
      \(parameter: "inference_batch_size") × \(parameter: "seq_length") should be at most 2^31, found \(rows) × \(tokens)
      """)
  }
}
