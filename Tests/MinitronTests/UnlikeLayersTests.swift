import Checkpoint
import Execution
import Minitron
import Models
import TestSupport
import Testing

/// Layers that are cut to different sizes: counted and computed as they are, and refused where a config cannot say them.
@Suite struct UnlikeLayersTests {
  private let golden: Golden
  private let model: SourceModel
  private let selection: Selection

  init() throws {
    golden = try Golden(Golden.root + "/Tests/Goldens/dense/llama3")
    model = try SourceModel(directory: golden.directory)
    let width = model.description.sizes[.ffn]
    // Every layer keeps one channel less than the one before.
    let lists: [[Int]?] = model.description.layers.indices.map { Array(0..<width - $0) }
    selection = Selection(layers: Array(model.description.layers.indices), cuts: [.ffn: .byLayer(lists)])
  }

  @Test func theArchitectureSaysWhichLayersDiffer() throws {
    let architecture = selection.architecture(of: model.description)
    let width = model.description.sizes[.ffn]
    for layer in model.description.layers.indices {
      #expect(architecture.sizes(inLayer: layer)[.ffn] == width - layer)
      // What is not cut is as it was.
      #expect(architecture.sizes(inLayer: layer)[.hidden] == model.description.sizes[.hidden])
    }
    // Where all agree it is a size of the model.
    let alike = Selection(layers: [0, 1], cuts: [.ffn: .byLayer(model.description.layers.map { _ in [0, 2] })])
    #expect(alike.architecture(of: model.description).layerSizes.isEmpty)
    #expect(alike.architecture(of: model.description).sizes[.ffn] == 2)
  }

  @Test func countsAreThoseOfTheSlicedWeights() throws {
    let description = model.description
    let architecture = selection.architecture(of: description)
    let planned = description.tensors(of: architecture).reduce(0) { $0 + $1.shape.reduce(1, *) }
    let metrics = MetricsCounter(description, rows: 1, tokens: 1).metrics(of: architecture)
    #expect(metrics.params == planned)
    // Three projections of an MLP lose a channel each, layer by layer.
    let whole = MetricsCounter(description, rows: 1, tokens: 1).metrics(of: Architecture(description))
    let lost = description.layers.indices.reduce(0) { $0 + 3 * $1 * description.sizes[.hidden] }
    #expect(whole.params - metrics.params == lost)
    #expect(
      description.operations(rows: [4], in: Architecture(description))
        - description.operations(rows: [4], in: architecture)
        == Double(2 * 4 * lost))
  }

  @Test func theyAreComputedAndAConfigThatCannotSayThemIsRefused() throws {
    let rows = try golden.rows()
    let found = try logits(model, rows: rows, selection: selection)
    #expect(!found.contains { !$0.isFinite })
    let whole = try golden.floats("logits.float32")
    #expect(relativeDifference(found, whole) > 1e-4)
    try withTemporaryDirectory { directory in
      let error = #expect(throws: ModelError.self) {
        try Exporter(model, selection: selection)
          .write(to: directory + "/pruned", record: .object([]), importance: nil)
      }
      #expect(error?.description.contains("one size for all layers") == true)
      #expect(!OutputDirectory.isFinished(directory + "/pruned"))
    }
  }
}
