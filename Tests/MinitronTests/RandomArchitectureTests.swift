import Execution
import Foundation
import Minitron
import Models
import TestSupport
import Testing

/// Planned parameter counts against what is written, over random architectures.
@Suite struct RandomArchitectureTests {
  /// One golden of every family.
  static let models: [Golden] = {
    var seen: Set<String> = []
    return Golden.all().filter { golden in
      guard let model = try? SourceModel(directory: golden.directory) else { return false }
      return seen.insert(model.description.family).inserted
    }
  }()

  @Test func everyFamilyHasAGolden() throws {
    let found = try Set(Self.models.map { try SourceModel(directory: $0.directory).description.family })
    #expect(found == Set(Families.builtIn.filter { $0.sections.isEmpty }.flatMap { $0.modelTypes }))
  }

  @Test(arguments: models) func plannedCountsEqualTheElementsWritten(_ golden: Golden) throws {
    let name = golden.name
    let model = try SourceModel(directory: golden.directory)
    let description = model.description
    var generator = SplitMix64(state: UInt64(name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) }))
    var scores = ImportanceScores()
    func some(_ count: Int) -> [Float] { (0..<count).map { _ in Float.random(in: 0..<1, using: &generator) } }
    scores.lists[.hiddenSize] = .everywhere(some(description.sizes[.hidden]))
    for hyperparameter in description.measured where hyperparameter != .hiddenSize {
      scores.lists[hyperparameter] = .byLayer(
        description.layers.map { _ in some(description.value(of: hyperparameter)) })
    }
    scores.layers = description.layers.map { _ in Double.random(in: 0..<1, using: &generator) }
    var written = 0
    while written < 100 {
      let config = ExportConfig(
        description.hyperparameters.map { hyperparameter in
          let groups = description.groups(of: hyperparameter)
          let original = description.value(of: hyperparameter)
          return (hyperparameter, Int.random(in: 1...original / groups, using: &generator) * groups)
        })
      if description.refusal(of: config.architecture(of: description)) != nil { continue }
      let selection = try scores.selection(for: config, of: description)
      let planned = MetricsCounter(description, rows: 1, tokens: 1)
        .metrics(of: selection.architecture(of: description)).params
      try withTemporaryDirectory { directory in
        try Exporter(model, selection: selection)
          .write(to: directory + "/out", record: .object([]), importance: nil)
        let found = try SourceModel(directory: directory + "/out").checkpoint.tensors.reduce(0) { $0 + $1.elementCount }
        #expect(found == planned, "\(config)")
      }
      written += 1
    }
  }
}
