import Execution
import JSON
import Minitron
import Models
import TestSupport
import Testing
import Torch

/// Scores are those of everything that the table of weights says can be pruned, and of nothing else.
@Suite struct CoverageTests {
  private static let names = ["moe/qwen3_moe_mixed", "mamba/nemotron_h_experts", "dense/llama2"]

  private func scores(
    _ model: SourceModel, rows: [[Int32]], observer: (ImportanceObserver) -> any TapObserver = { $0 },
    channels: ExpertChannels = .shared
  ) throws -> ImportanceScores {
    let statistics = ImportanceObserver(model.description, microBatch: 1, expertChannels: channels)
    let batches = TokenBatch.groups(rows, size: 1)
    try Executor(model, dtype: .float32).observe(batches, observer: observer(statistics))
    return try statistics.scores()
  }

  private func golden(_ name: String) throws -> (golden: Golden, model: SourceModel) {
    let golden = try Golden(Golden.root + "/Tests/Goldens/" + name)
    return (golden, try SourceModel(directory: golden.directory))
  }

  @Test(arguments: names, [ExpertChannels.shared, .own])
  func whatIsWrittenIsReadBack(_ name: String, _ channels: ExpertChannels) throws {
    let (golden, model) = try golden(name)
    let found = try scores(model, rows: golden.rows(), channels: channels)
    #expect((found.lists[.moeFFNHiddenSize]?.byExpert != nil) == (channels == .own && name != "dense/llama2"))
    #expect(try ImportanceScores(parsing: found.json, for: model.description, file: "kept") == found)
  }

  @Test(arguments: names, [ExpertChannels.shared, .own])
  func everyListIsHeldAgainstTheTableOfWeights(_ name: String, _ channels: ExpertChannels) throws {
    let (golden, model) = try golden(name)
    let description = model.description
    let whole = try #require(try scores(model, rows: golden.rows(), channels: channels).json.object)
    func refusal(_ hyperparameter: Hyperparameter, _ change: (inout [JSON]) -> Void) throws -> String {
      var object = whole
      var list = try #require(object[hyperparameter.rawValue]?.array)
      change(&list)
      object[hyperparameter.rawValue] = .array(list)
      let error = #expect(throws: ModelError.self, "\(hyperparameter)") {
        try ImportanceScores(parsing: .object(object), for: description, file: "kept")
      }
      return error?.description ?? ""
    }
    for hyperparameter in description.hyperparameters {
      let name = hyperparameter.rawValue
      var object = whole
      object[name] = nil
      #expect(throws: ModelError.self) {
        try ImportanceScores(parsing: .object(object), for: description, file: "kept")
      }
      #expect(try refusal(hyperparameter) { $0.removeLast() }.contains(name))
      #expect(try refusal(hyperparameter) { $0.append($0[0]) }.contains(name))
      if [.numLayers, .hiddenSize].contains(hyperparameter) {
        #expect(try refusal(hyperparameter) { $0[0] = .null }.contains(name))
        continue
      }
      for (layer, layerDescription) in description.layers.enumerated() {
        let carries = layerDescription.carries(hyperparameter)
        let words = [name, "layer \(layer + 1)"]
        var changes: [(inout [JSON]) -> Void] = [{ $0[layer] = .array([]) }, { $0[layer] = .array([.double(1)]) }]
        if carries {
          changes += [{ $0[layer] = .null }, { $0[layer] = .array(Array(($0[layer].array ?? []).dropLast())) }]
        }
        for change in changes {
          let message = try refusal(hyperparameter, change)
          #expect(words.allSatisfy(message.contains), "\(message)")
        }
      }
    }
  }

  @Test func scoresThatAreNoNumbersAreRefused() throws {
    let (golden, model) = try golden("dense/llama2")
    let whole = try #require(try scores(model, rows: golden.rows()).json.object)
    // Finite in 64 bits, and not in the 32 that scores have.
    for value in [JSON.null, .text("1"), .double(1e39)] {
      var object = whole
      var list = try #require(object["hidden_size"]?.array)
      list[3] = value
      object["hidden_size"] = .array(list)
      #expect(throws: ModelError.self) {
        try ImportanceScores(parsing: .object(object), for: model.description, file: "kept")
      }
    }
    var damaged = try ImportanceScores(parsing: .object(whole), for: model.description, file: "kept")
    damaged.lists[.hiddenSize] = damaged.lists[.hiddenSize]?.map { list, _ in [.nan] + list.dropFirst() }
    #expect(throws: ModelError.self) {
      try ImportanceScores(parsing: damaged.json, for: model.description, file: "kept")
    }
  }

  /// A block that forgot to show what it computes is an error, not a layer without channels.
  @Test(arguments: ["ffn_hidden_size", "num_attention_heads", "hidden_size", "num_layers"])
  func aBlockWithoutItsTapIsAnErrorThatNamesIt(_ deaf: String) throws {
    let (golden, model) = try golden("dense/llama2")
    let rows = try golden.rows()
    let error = #expect(throws: ModelError.self) {
      try scores(model, rows: rows, observer: { Deaf($0, to: deaf, layer: 1) })
    }
    let words = ["hidden_size", "num_layers"].contains(deaf) ? ["layer 2"] : ["layer 2", deaf]
    #expect(words.allSatisfy { error?.description.contains($0) == true }, "\(error?.description ?? "")")
  }

  @Test func expertsWithoutTapsAreAnError() throws {
    let (golden, model) = try golden("moe/qwen2_moe")
    let layer = try #require(model.description.layers.firstIndex { $0.carries(.numMoEExperts) })
    for channels in ExpertChannels.allCases {
      let rows = try golden.rows()
      let error = #expect(throws: ModelError.self) {
        try scores(model, rows: rows, observer: { Deaf($0, to: "experts", layer: layer) }, channels: channels)
      }
      #expect(error?.description.contains("in layer \(layer + 1)") == true, "\(error?.description ?? "")")
    }
  }
}

/// Passes on everything but one kind of activations of one layer.
private final class Deaf: TapObserver {
  private let other: ImportanceObserver
  private let kind: String
  private let layer: Int

  init(_ other: ImportanceObserver, to kind: String, layer: Int) {
    self.other = other
    self.kind = kind
    self.layer = layer
  }

  func observe(_ tap: Tap, layer: Int, _ sums: ChannelSums) throws {
    if tap.axis.hyperparameters.first?.rawValue != kind || layer != self.layer {
      try other.observe(tap, layer: layer, sums)
    }
  }

  func observeLayer(_ layer: Int, input: Tensor, output: Tensor, lengths: [Int]) throws {
    if kind != "num_layers" || layer != self.layer {
      try other.observeLayer(layer, input: input, output: output, lengths: lengths)
    }
  }

  func observeExperts(layer: Int, _ sums: ExpertSums) throws {
    if kind != "experts" || layer != self.layer { try other.observeExperts(layer: layer, sums) }
  }
}
