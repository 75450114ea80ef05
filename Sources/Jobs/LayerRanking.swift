import Foundation
import JSON

/// Layers by importance, best first: a JSON list of 1-based numbers, or a file with one. In JSON it is that text.
public struct LayerRanking: Codable, Sendable, Equatable {
  /// `[3, 1, 2]`, or the path of a file.
  public let text: String

  public init(_ text: String) { self.text = text }
  /// - Parameter layers: 1-based numbers, best first.
  public init(_ layers: [Int]) { text = "\(layers)" }

  public init(from decoder: any Decoder) throws {
    text = try decoder.singleValueContainer().decode(String.self)
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(text)
  }

  /// The layers of a model, 0-based, best first.
  ///
  /// - Throws: `RunError` unless each of `count` layers is in it once.
  func layers(of count: Int) throws -> [Int] {
    let isList = text.drop(while: \.isWhitespace).hasPrefix("[")
    let data: Data
    if isList {
      data = Data(text.utf8)
    } else if let contents = FileManager.default.contents(atPath: text) {
      data = contents
    } else {
      throw RunError(
        """
        \(parameter: "layer_ranking"): \(text) cannot be read; give a JSON list such as [3, 1, 2], or a file with one
        """)
    }
    func wrong(_ problem: String) -> RunError {
      isList ? RunError("\(parameter: "layer_ranking"): \(problem)") : RunError("\(text): \(problem)")
    }
    let json: JSON
    do { json = try JSON(parsing: data) } catch { throw wrong("\(error)") }
    let numbers = json.array?.compactMap(\.int) ?? []
    guard numbers.sorted() == Array(1...count), json.array?.count == count else {
      throw wrong("a layer ranking is a JSON list with each number from 1 to \(count) once, best first")
    }
    return numbers.map { $0 - 1 }
  }
}
