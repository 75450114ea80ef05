import ArgumentParser
import Foundation
import JSON
import Models

/// `--layer_ranking`: a JSON list of 1-based layer numbers, best first, or a file with one.
struct LayerRanking: ExpressibleByArgument {
  let argument: String

  init?(argument: String) { self.argument = argument }

  /// The layers of a model, 0-based, best first.
  ///
  /// - Throws: `ModelError` unless each of `count` layers is in it once.
  func layers(of count: Int) throws -> [Int] {
    let isList = argument.drop(while: \.isWhitespace).hasPrefix("[")
    let name = isList ? "--layer_ranking" : argument
    let data: Data
    if isList {
      data = Data(argument.utf8)
    } else if let contents = FileManager.default.contents(atPath: argument) {
      data = contents
    } else {
      throw ModelError(
        "--layer_ranking: \(argument) cannot be read; give a JSON list such as [3, 1, 2], or a file with one")
    }
    let json: JSON
    do { json = try JSON(parsing: data) } catch { throw ModelError("\(name): \(error)") }
    let numbers = json.array?.compactMap(\.int) ?? []
    guard numbers.sorted() == Array(1...count), json.array?.count == count else {
      throw ModelError("\(name): a layer ranking is a JSON list with each number from 1 to \(count) once, best first")
    }
    return numbers.map { $0 - 1 }
  }
}
