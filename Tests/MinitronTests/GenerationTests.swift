import Execution
import Models
import TestSupport
import Testing
import Torch

/// Keys, values and states kept between tokens against one pass over everything.
@Suite struct GenerationTests {
  /// Some tokens at once, some one by one, the rest at once behind them.
  @Test(arguments: RandomArchitectureTests.models) func piecesOfASequenceEqualTheWhole(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory)
    let row = try #require(golden.rows().first)
    let generator = try Generator(model, dtype: .float32)
    var found: [Float] = []
    var start = 0
    let first = row.count / 2
    for count in [first, 1, 1, 1, row.count - first - 3] {
      found += try generator.logits(appending: Array(row[start..<start + count]), all: true).floats()
      start += count
    }
    let whole = try golden.floats("logits.float32").prefix(found.count)
    #expect(relativeDifference(found, Array(whole)) <= 1e-4)
  }
}
