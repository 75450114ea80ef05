public import ArgumentParser
public import Jobs
import Messages
import Torch
public import Recovery
public import Minitron

extension Message {
  /// As the command line says it: a parameter is the flag that sets it.
  var flagged: String { text { "--" + $0 } }
}

/// An error in the words of the command line.
struct FlaggedError: Error, CustomStringConvertible {
  let description: String
}

/// An error of a library in the words of the command line: wrong usage (exit code 64) for what no model could meet.
func flagged(_ error: any Error) -> any Error {
  switch error {
  case let error as RequestError: ValidationError(error.message.flagged)
  case let error as any MessageError: FlaggedError(description: error.message.flagged)
  case let error as TorchError:
    error.lackOfDeviceMemory.map {
      FlaggedError(
        description: "\($0) --device cpu computes in the machine's memory; a training takes less with "
          + "--recompute_granularity full, a smaller --mbs or a shorter --seq_length")
    } ?? error
  default: error
  }
}

/// Turns an error about a value that was typed into one of usage (exit code 64).
func usage<T>(_ body: () throws -> T) throws -> T {
  do { return try body() } catch let error as any MessageError {
    throw ValidationError(error.message.flagged)
  } catch { throw ValidationError("\(error)") }
}

/// - Throws: `ValidationError` when `value` is below `least`.
func atLeast(_ least: Int, _ value: Int, flag: String) throws {
  guard value >= least else { throw ValidationError("\(flag) should be at least \(least), found \(value)") }
}

/// The value of an option, read once, when the argument comes. What is wrong with it is said when it is asked for, in the
/// words of this program: the argument parser would only say that it is invalid.
struct Written<Value: WrittenValue>: ExpressibleByArgument {
  private let text: String
  private let result: Result<Value, any Error>

  init(argument: String) {
    text = argument
    result = Result { try Value(argument) }
  }

  init(_ value: Value) { (text, result) = (value.text, .success(value)) }

  var defaultValueDescription: String { text }

  /// - Throws: `ValidationError` that begins with the flag.
  func value(_ flag: String) throws -> Value {
    do { return try result.get() } catch let error as Predicate {
      throw ValidationError("\(flag) \(error)")
    } catch let error as any MessageError {
      throw ValidationError("\(flag): \(error.message.flagged)")
    } catch { throw ValidationError("\(flag): \(error)") }
  }
}

extension ComputeParameters.ComputeType: ExpressibleByArgument {}
extension Prefilter: ExpressibleByArgument {}
extension RefitMode: ExpressibleByArgument {}
extension ResidualBasis: ExpressibleByArgument {}
extension PredictionChoice: ExpressibleByArgument {}
extension LayerScore: ExpressibleByArgument {}

extension LayerRanking: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
