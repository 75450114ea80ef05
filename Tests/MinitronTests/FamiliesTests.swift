import Models
import TestSupport
import Testing

@Suite struct FamiliesTests {
  @Test func everyTypeIsListedWithWhatItsTableOfWeightsCarries() throws {
    let entries = try Families.entries()
    #expect(entries.map(\.modelType) == Families.modelTypes)
    for entry in entries { #expect(entry.hyperparameters.starts(with: [.numLayers]), "\(entry.modelType)") }
    let llama = try #require(entries.first { $0.modelType == "llama" })
    #expect(llama.hyperparameters == [.numLayers, .hiddenSize, .numAttentionHeads, .ffnHiddenSize])
  }

  /// The sample stands for real models: whatever a golden can prune, the list names.
  @Test(arguments: RandomArchitectureTests.models) func theListNamesWhatGoldensPrune(_ golden: Golden) throws {
    let model = try SourceModel(directory: golden.directory).description
    let entry = try #require(try Families.entries().first { $0.modelType == model.family })
    let prunable = model.hyperparameters.filter { model.value(of: $0) / max(model.groups(of: $0), 1) > 1 }
    #expect(Set(prunable).isSubset(of: entry.hyperparameters))
  }
}
