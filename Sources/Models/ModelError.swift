/// A model that cannot be read, run or pruned as asked, said for the person who asked.
public struct ModelError: Error, CustomStringConvertible, Sendable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
