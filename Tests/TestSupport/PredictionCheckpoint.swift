import Checkpoint
import JSON
import Models

extension EditedCheckpoint {
  /// A checkpoint with a module that predicts a further token, of numbers that differ.
  ///
  /// - Parameter field: the config's key of how many there are.
  public init(predicting directory: String, _ field: String) throws {
    try self.init(directory)
    config[field] = .int(1)
    try completePrediction()
  }

  /// Adds what the config describes and the checkpoint lacks.
  public mutating func completePrediction() throws {
    let description = try Families.describe(config: config, file: "config.json").keepingPrediction()
    let own = Set(tensors.map(\.name))
    for (number, (name, shape)) in description.tensors().enumerated() where !own.contains(name) {
      let values = (0..<shape.reduce(1, *)).map { Float(($0 * 7 + number * 13) % 101) / 100 - 0.5 }
      tensors.append(Entry(name: name, type: .float32, shape: shape, bytes: values.withUnsafeBytes(Array.init)))
    }
  }
}
