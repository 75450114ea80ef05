/// Why a data set cannot be used, in words for the person who named it.
public struct DatasetError: Error, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }
}
