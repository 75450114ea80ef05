import Checkpoint
import Execution
import Foundation
import JSON
import Minitron
import Models
import TestSupport
import Testing

/// A model whose layers have sizes of their own, or lack attention or MLP.
@Suite struct NemotronNASTests {
  private let sample = NemotronNAS.sample(modelType: "nemotron-nas")

  private func describe(_ config: JSON.Object) throws -> ModelDescription {
    try Families.describe(config: config, file: "config.json")
  }

  /// The sample with other entries for its layers.
  private func described(_ entries: [JSON], hidden: Int = 2048) throws -> ModelDescription {
    var config = sample
    config["block_configs"] = .array(entries)
    config["num_hidden_layers"] = .int(entries.count)
    config["hidden_size"] = .int(hidden)
    return try describe(config)
  }

  private static func entry(_ attention: [(String, JSON)], _ ffn: [(String, JSON)]) -> JSON {
    .object([("attention", .object(attention)), ("ffn", .object(ffn))])
  }
  private static let attention = [("n_heads_in_group", JSON.int(4))]

  /// Llama-3_3-Nemotron-Super-49B-v1, whose published weights have this many parameters.
  @Test func aPublishedModelIsCounted() throws {
    // By layer the factor, of those without attention a small letter.
    let factors: [Character: Double] = ["F": 5.25, "T": 3.28125, "H": 2.625, "Q": 1.3125, "O": 1, "E": 0.5]
    let layers =
      "HFFFFFhhFFFt" + String(repeating: "F", count: 30) + "qhhqfqhqqqFqooqoooqqeeooeeoee" + "FFFFFFFFF"
    let entries = layers.map { layer in
      let isAbsent = layer.isLowercase
      return Self.entry(
        [("n_heads_in_group", isAbsent ? .null : .int(8)), ("no_op", .bool(isAbsent)), ("window_length", .null)],
        [("ffn_mult", .double(factors[Character(layer.uppercased())] ?? 0)), ("no_op", .bool(false))])
    }
    var config = sample
    config["block_configs"] = .array(entries)
    for (key, value) in [
      ("hidden_size", 8192), ("num_hidden_layers", 80), ("num_attention_heads", 64), ("vocab_size", 128_256),
    ] { config[key] = .int(value) }
    let model = try describe(config)
    let metrics = MetricsCounter(model, rows: 1, tokens: 1000).metrics(of: Architecture(model))
    #expect(metrics.params == 49_867_145_216)
    #expect(model.ownSizes(.ffn) == [2816, 5632, 7168, 14336, 17920, 28672])
    // Keys and values of the 49 layers with attention: 8 heads of 128 each.
    let caches = Double(49 * 2 * 8 * 128 * 1000 * 2) / 1_048_576
    #expect(abs(metrics.memoryMB - Double(metrics.params * 2) / 1_048_576 - caches) < 1e-6)
  }

  @Test func widthsStayWhateverBecomesOfHiddenSize() throws {
    let factors = [0.09, 0.5, 1, 1.3125, 2.625, 3.28125, 4.875, 5.25, 39]
    let model = try described(factors.map { Self.entry(Self.attention, [("ffn_mult", .double($0))]) })
    let widths = factors.map { (Int(2 * $0 * 2048 / 3) + 255) / 256 * 256 }
    for hidden in [1, 7, 255, 256, 1000, 1001, 1536, 2047, 2048] {
      var architecture = Architecture(model)
      architecture.sizes[.hidden] = hidden
      let config = try model.prunedConfig(for: architecture)
      let entries = try #require(config["block_configs"]?.array)
      let found = try entries.map { entry in
        let factor = try #require(entry["ffn"]?["ffn_mult"]?.double)
        return (Int(2 * factor * Double(hidden) / 3) + 255) / 256 * 256
      }
      #expect(found == widths, "\(hidden)")
      let reread = try describe(config)
      #expect(reread.tensors().map(\.shape) == model.tensors(of: architecture).map(\.shape))
    }
    // What says the same is not touched.
    #expect(try model.prunedConfig(for: Architecture(model))["block_configs"] == model.config["block_configs"])
  }

  @Test func entriesFollowLayersAndHeads() throws {
    let model = try describe(sample)
    // 16 heads in groups of 4 and 2: each layer's groups lose as many.
    #expect(model.groups(of: .numAttentionHeads) == 8)
    #expect([0, 2].map { model.groups(of: .numAttentionHeads, inLayer: $0) } == [4, 8])
    var architecture = Architecture(model, layers: [0, 2, 3])
    architecture.sizes[.heads] = 8
    let config = try model.prunedConfig(for: architecture)
    let entries = try #require(config["block_configs"]?.array)
    #expect(entries.map { $0["attention"]?["n_heads_in_group"]?.int } == [2, 1, nil])
    #expect(entries.map { $0["ffn"]?["intermediate_size"]?.int } == [nil, nil, 1000])
    #expect(entries[1]["ffn"] == model.config["block_configs"]?.array?[2]["ffn"])
    // Numbers of the whole model that are not there stay so.
    for key in ["num_key_value_heads", "intermediate_size"] { #expect(config[key] == .null) }
    #expect(config["num_attention_heads"]?.int == 8 && config["head_dim"]?.int == 128)
  }

  @Test func whatLayersHaveOfTheirOwnIsNotCutByOneNumber() throws {
    let model = try describe(sample)
    #expect(model.prunable == [.numLayers, .hiddenSize, .numAttentionHeads])
    for (name, value, own) in [("ffn_hidden_size", 512, "1000, 1792, 7168"), ("num_query_groups", 4, "4, 8")] {
      let config = try ExportConfig(parsing: .object([(name, .int(value))]))
      let error = #expect(throws: ModelError.self) { try config.validate(for: model) }
      #expect(error?.description.contains("\(name) cannot be pruned") == true)
      #expect(error?.description.contains("layers have their own (\(own))") == true, "\(error?.description ?? "")")
    }
    // The size that all layers have says that nothing is cut.
    let alike = try described([Self.entry(Self.attention, [("ffn_mult", .double(1))])])
    #expect(try ExportConfig([(.ffnHiddenSize, 1536), (.numQueryGroups, 4)]).validate(for: alike).isEmpty)
    #expect(throws: ModelError.self) { try ExportConfig([(.ffnHiddenSize, 1280)]).validate(for: alike) }
    #expect(throws: ModelError.self) { try ExportConfig([(.numAttentionHeads, 4)]).validate(for: model) }
    #expect(try ExportConfig([(.numAttentionHeads, 8)]).validate(for: model).isEmpty)
  }

  @Test func aLayerWithAttentionIsKept() throws {
    let model = try describe(sample)
    #expect(model.indispensableLayer([1, 3, 2, 0]) == 2)
    #expect(model.keepingOrder([1, 3, 2, 0]).first == 2)
  }

  /// Layers that are cut to widths of their own: written where an entry can say them.
  @Test func unlikeCutsAreWrittenLayerByLayer() throws {
    func cut(_ name: String) throws -> (SourceModel, Selection, [[Int32]]) {
      let golden = try Golden(Golden.root + "/Tests/Goldens/nemotron_nas/" + name)
      let model = try SourceModel(directory: golden.directory)
      let lists = model.description.layers.indices.map { layer -> [Int]? in
        let width = model.description.sizes(inLayer: layer)[.ffn]
        return width == 0 ? nil : Array(1 + layer..<width)
      }
      return (model, Selection(layers: [0, 1, 3, 4], cuts: [.ffn: .byLayer(lists)]), try golden.rows())
    }
    let (model, selection, rows) = try cut("nemotron_nas_linear")
    let architecture = selection.architecture(of: model.description)
    #expect([0, 1, 3].map { architecture.sizes(inLayer: $0)[.ffn] } == [39, 22, 52])
    try withTemporaryDirectory { directory in
      let output = directory + "/pruned"
      try Exporter(model, selection: selection).write(to: output, record: .object([]), importance: nil)
      let found = try SourceModel(directory: output)
      #expect(found.description.ownSizes(.ffn) == [22, 39, 52])
      let sliced = try logits(model, rows: rows, selection: selection)
      #expect(relativeDifference(try logits(found, rows: rows), sliced) <= 1e-6)
    }
    let (factors, unlike, _) = try cut("nemotron_nas")
    let error = #expect(throws: ModelError.self) {
      try factors.description.prunedConfig(for: unlike.architecture(of: factors.description))
    }
    #expect(error?.description.contains("no \"ffn_mult\" says an MLP of 255 channels") == true)
  }

  @Test func whatABlockAsksForIsReadOrRefusedByName() throws {
    func refusal(_ entries: JSON?) -> String {
      var config = sample
      config["block_configs"] = entries
      do { return "described: \(try describe(config).layers.count)" } catch { return "\(error)" }
    }
    func first(_ attention: [(String, JSON)], _ ffn: [(String, JSON)] = [("ffn_mult", .int(1))]) -> JSON {
      .array([Self.entry(attention, ffn)] + (sample["block_configs"]?.array?.dropFirst() ?? []))
    }
    let entries = try #require(sample["block_configs"]?.array)
    let (own, width) = (Self.attention, ("ffn_mult", JSON.double(1)))
    for value in [JSON.null, .int(4), .array([]), .array(Array(entries.dropLast())), .array(entries + entries)] {
      #expect(refusal(value).contains("config.json: \"block_configs\" should be a list of 4 objects"))
    }
    #expect(refusal(nil).contains("found nothing"))
    let cases: [(JSON, String)] = [
      (.array([.null] + entries.dropFirst()), "layer 1: should be an object, found null"),
      (.array([.int(3)] + entries.dropFirst()), "layer 1: should be an object, found a number: 3"),
      (.array([.object([])] + entries.dropFirst()), "layer 1: \"attention\" should be an object"),
      (.array(entries.dropLast() + [.object([("attention", .object(own))])]), "layer 4: \"ffn\" should be an object"),
      (
        .array([.object([("attention", .array([])), ("ffn", .null)])] + entries.dropFirst()), "\"attention\" should be"
      ),
      (first([("n_heads_in_group", .int(0))]), "\"attention\": \"n_heads_in_group\" should be an integer from 1"),
      (first([("n_heads_in_group", .int(-4))]), "\"n_heads_in_group\" should be an integer from 1"),
      (first([("n_heads_in_group", .int(.max))]), "\"n_heads_in_group\" should be an integer from 1"),
      (first([("n_heads_in_group", .text("4"))]), "\"n_heads_in_group\" should be an integer from 1"),
      (first([("n_heads_in_group", .null)]), "\"n_heads_in_group\" should be an integer of at least 1, found null"),
      (first([("n_heads_in_group", .int(3))]), "\"n_heads_in_group\" (3) should divide num_attention_heads (16)"),
      (first([("n_heads_in_group", .int(32))]), "\"n_heads_in_group\" (32) should divide num_attention_heads (16)"),
      (first(own + [("no_op", .int(1))]), "\"no_op\" should be true or false"),
      (first([("no_op", .bool(true)), ("replace_with_linear", .bool(true))]), "should not both be true"),
      (first(own + [("window_length", .int(4096))]), "\"window_length\" should be null, false or absent"),
      (first(own + [("num_sink_tokens", .int(0))]), "\"num_sink_tokens\" should be null"),
      (first(own + [("unshifted_sink", .bool(true))]), "\"unshifted_sink\" should be null"),
      (
        first(own + [("use_prefill_window_in_sink_attention", .bool(true))]), "\"use_prefill_window_in_sink_attention\""
      ),
      (first(own + [("sparsify", .array([.text("q_proj")]))]), "\"sparsify\" should be null"),
      (first(own + [("mamba", .object([("state_dim", .int(8))]))]), "\"mamba\" should be null"),
      (first(own, [("ffn_mult", .int(-1))]), "\"ffn\": \"ffn_mult\" should be a number above zero"),
      (first(own, [("ffn_mult", .int(0))]), "\"ffn_mult\" should be a number above zero"),
      (first(own, [("ffn_mult", .double(1e-9))]), "\"ffn_mult\" (1e-09) should give a width from 1 to 16777216"),
      (first(own, [("ffn_mult", .double(1e300))]), "should give a width from 1 to 16777216"),
      (first(own, [("ffn_mult", .int(.max))]), "should give a width from 1 to 16777216"),
      (first(own, [("ffn_mult", .text("5.25"))]), "\"ffn_mult\" should be a finite number"),
      (first(own, [("ffn_mult", .null)]), "\"ffn_mult\" should be a number, found null"),
      (first(own, [("intermediate_size", .int(0))]), "\"intermediate_size\" should be an integer from 1"),
      (first(own, [width, ("intermediate_size", .int(1000))]), "and that of \"intermediate_size\" (1000)"),
      (first(own, [width, ("moe", .object([("num_local_experts", .int(4))]))]), "\"moe\" should be null"),
      (first(own, [width, ("sparsify", .array([]))]), "\"sparsify\" should be null"),
      (first(own, [width, ("gated", .bool(false))]), "\"gated\" is false"),
      (first(own, [width, ("hidden_act", .text("tanh"))]), "\"hidden_act\" is \"tanh\""),
    ]
    for (value, expected) in cases {
      let found = refusal(value)
      #expect(found.contains(expected) && found.contains("config.json, \"block_configs\", layer "), "\(found)")
    }
    let parallel = JSON.object([
      ("attention", .object(own)), ("ffn", .object([width])), ("parallel_blocks", .array([.int(1)])),
    ])
    #expect(refusal(.array([parallel] + entries.dropFirst())).contains("layer 1: \"parallel_blocks\" should be null"))
    let absent = Self.entry([("no_op", .bool(true))], [width])
    #expect(refusal(.array([absent, absent, absent, absent])).contains("no layer has attention"))
    // Fields that ask for nothing.
    let asks = own + [("window_length", .null), ("unshifted_sink", .bool(false)), ("llama4", .null)]
    #expect(
      refusal(first(asks, [width, ("moe", .null), ("intermediate_size", .int(1536)), ("gated", .bool(true))]))
        == "described: 4")
    for (key, value) in [
      ("qkv_bias", JSON.bool(true)), ("bias", .bool(true)), ("o_proj_bias", .bool(true)),
      ("position_embedding_type", .text("mistral_yarn")),
    ] {
      var config = sample
      config[key] = value
      let error = #expect(throws: ModelError.self) { try describe(config) }
      #expect(error?.description.contains("config.json: \"\(key)\" should be") == true)
    }
  }
}
