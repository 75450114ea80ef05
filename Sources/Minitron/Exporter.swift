public import Checkpoint
import Dispatch
public import JSON
public import Models
public import Torch

/// Writes a pruned model as a Hugging Face checkpoint, straight from the mapped source: an index-select on every
/// axis that carries something pruned, tensor by tensor. No model is ever held in memory.
public struct Exporter {
  public let model: SourceModel
  public let selection: Selection
  private let architecture: Architecture
  /// The weights in the basis that hidden_size is cut in, and how many of its directions are kept; nil for the channels.
  private let rotated: (weights: RotatedWeights, count: Int)?

  /// The files of the source that are taken along.
  public let companions: Companions

  /// What a weight of a layer (original, 0-based; nil outside the layers) is in the result, where that is not what was sliced; of a
  /// weight with a tensor for each expert all of them, stacked.
  public var replacement: (_ weight: Weight, _ layer: Int?) throws -> Tensor? = { _, _ in nil }

  /// - Parameters:
  ///   - rotation: the basis that the selection is cut in where it cuts hidden_size; nil for the channels.
  ///   - companions: those of the model's directory; nil to look for them now.
  /// - Throws: what `Companions` throws; `ModelError` for a selection without a layer that has to be kept.
  public init(
    _ model: SourceModel, selection: Selection, rotation: Rotation? = nil, companions: Companions? = nil
  ) throws {
    self.model = model
    self.selection = selection
    let required = model.description.required
    if let layer = required.layers.subtracting(selection.layers).min() {
      throw ModelError(
        "layer \(layer + 1) of this \(model.description.family) model has to be kept: \(required.reason)")
    }
    rotated = try rotation.flatMap { rotation in
      try selection.keptDirections().map { (try RotatedWeights(model, rotation), $0) }
    }
    architecture = selection.architecture(of: model.description)
    self.companions = try companions ?? Companions(directory: model.checkpoint.directory)
  }

  /// Settings files that lose entries which name Python code of the source, such as `auto_map`: that code is not part
  /// of the result, and knows nothing of pruned shapes.
  public var filesNamingCode: [String] {
    let config = CodeReferences.removed(from: model.description.wholeConfig) == nil ? [] : ["config.json"]
    return config + companions.files.filter(\.namesCode).map(\.name)
  }

  /// A weight of the result and where it comes from.
  private struct Part {
    let target: PlannedTensor
    /// The weight and its layer of the original; nil for what is carried along.
    var origin: (weight: Weight, layer: Int?)?
    /// Its place among the experts that are kept, of a weight with a tensor for each.
    var expert: Int?
    let source: TensorEntry
    /// What is kept of it, per axis: in one piece, or in one for each expert that is kept, one after another.
    let pieces: [[[Int]?]]
    /// Set where values change too: see `ModelDescription.rescaled`.
    let change: (offset: Double, factor: Double)?
  }

  private func parts() throws -> [Part] {
    let description = model.description
    let rescaled = description.rescaled(to: architecture.sizes)
    /// A weight's tensors: one, or one for each expert that is kept, numbered anew.
    func tensors(_ weight: Weight, from original: Int?, to position: Int?) throws -> [Part] {
      let sizes = description.sizes(inLayer: original)
      func kept(_ expert: Int? = nil) -> [[Int]?] {
        weight.asStored(
          selection.keptIndices(of: weight, layer: original, expert: expert, sizes: sizes))
      }
      let sources = weight.tensors(layer: original, sizes: sizes).map(\.name)
      let byExpert = selection.isCutByExpert(weight, layer: original)
      let experts = selection.kept(.experts, layer: original) ?? Array(0..<sizes[.experts])
      let whole = byExpert && !weight.isPerExpert ? experts.map { [[$0]] + kept($0).dropFirst() } : [kept()]
      let numbers = weight.isPerExpert ? experts : [0]
      return try zip(numbers, weight.tensors(layer: position, sizes: architecture.sizes(inLayer: original))).map {
        number, target in
        let name = sources[number]
        guard let source = model.checkpoint.entry(name) else {
          throw ModelError("\(model.checkpoint.directory): the tensor \(name) is gone")
        }
        // Vectors, and maps from the stream to a few channels, are small: float32 keeps the pruned model what it should be to the
        // last digit.
        let isSmall = weight.axes.count == 1 || (weight.readsAxis != nil && weight.writesAxis == nil)
        let type = rescaled[weight] != nil && isSmall ? .float32 : source.type
        return Part(
          target: PlannedTensor(name: target.name, type: type, shape: target.shape), origin: (weight, original),
          expert: weight.isPerExpert ? experts.firstIndex(of: number) : nil, source: source,
          pieces: weight.isPerExpert ? [Array(kept(byExpert ? number : nil).dropFirst())] : whole,
          change: rescaled[weight])
      }
    }
    var parts = try tensors(description.embedding, from: nil, to: nil)
    for (position, original) in selection.layers.enumerated() {
      parts += try description.layers[original].weights.flatMap { try tensors($0, from: original, to: position) }
    }
    parts += try description.outerWeights.dropFirst().flatMap { try tensors($0, from: nil, to: nil) }
    for (weight, module) in description.predictionWeights {
      parts += try tensors(weight, from: description.layers.count + module, to: selection.layers.count + module)
    }
    // What nothing here computes with is carried along bit for bit.
    parts += model.carriedTensors.map { source in
      Part(
        target: PlannedTensor(name: source.name, type: source.type, shape: source.shape), source: source,
        pieces: [source.shape.map { _ in nil }], change: nil)
    }
    return parts
  }

  /// Every tensor of the result: name, type, shape.
  public func plan() throws -> [PlannedTensor] { try parts().map(\.target) }

  /// Bytes of weights to be written.
  public func byteCount() throws -> Int {
    try plan().reduce(0) { $0 + ($1.type.byteCount(ofShape: $1.shape) ?? 0) }
  }

  /// Writes the checkpoint. It appears at `path` whole, by one rename, after it was reopened and checked.
  ///
  /// - Parameters:
  ///   - record: becomes `coppice.json`.
  ///   - importance: becomes `coppice_importance.json`, a `KeptFile`, so that another target needs no second calibration.
  ///   - documents: further files and their texts, such as the model card.
  ///   - claim: a claim on `path` that is held already.
  ///   - check: called when everything is written, before it appears: whether it is still what its record says.
  /// - Throws: what the writer and `OutputDirectory.publish` throw; nothing is left then.
  public func write(
    to path: String, record: JSON, importance: JSON.Object?, documents: [(name: String, text: String)] = [],
    claim: OutputClaim? = nil,
    maxShardBytes: Int = CheckpointWriter.defaultMaxShardBytes,
    check: () throws -> Void = {}, progress: (_ doneBytes: Int, _ totalBytes: Int) -> Void = { _, _ in }
  ) throws {
    let parts = try parts()
    let plan = parts.map(\.target)
    let total = try byteCount()
    try OutputDirectory.publish(to: path, claim: claim) { directory in
      let writer = try CheckpointWriter(directory: directory, tensors: plan, maxShardBytes: maxShardBytes)
      var done = 0
      // What comes next is read while this is written.
      let reader = DispatchQueue(label: "coppice.read-ahead", qos: .userInitiated)
      for (index, part) in parts.enumerated() {
        if index + 1 < parts.count {
          reader.async { [checkpoint = model.checkpoint, name = parts[index + 1].source.name] in
            checkpoint.willNeed([name])
          }
        }
        let shape = try Self.shape(of: part.pieces.map { try TensorSlicer(part.source, keeping: $0).shape })
        guard shape == part.target.shape else {
          throw ModelError("\(part.source.name): what is kept has shape \(shape), the plan says \(part.target.shape)")
        }
        if let values = try replaced(part) {
          try writer.write(part.target.name) { append in try values.withUnsafeBytes { try append($0) } }
          done += values.byteCount
          progress(done, total)
          continue
        }
        if let turn = turned(part) {
          try writer.write(part.target.name) { append in
            try forEachTurned(part, turn.weight, turn.layer) { values in
              try values.withUnsafeBytes { bytes in
                try append(bytes)
                done += bytes.count
              }
              progress(done, total)
            }
          }
          continue
        }
        if let change = part.change {
          try writer.write(part.target.name) { append in
            try forEachRescaled(part, change) { values in
              try values.withUnsafeBytes { try append($0) }
              done += values.byteCount
              progress(done, total)
            }
          }
          continue
        }
        try writer.write(part.target.name) { append in
          try model.checkpoint.copy(part.source.name, pieces: part.pieces) { piece in
            try append(piece)
            done += piece.count
            progress(done, total)
          }
        }
      }
      try writer.finish()
      let pruned = try model.description.prunedConfig(for: architecture)
      for (name, json) in [
        ("config", JSON.object(CodeReferences.removed(from: pruned) ?? pruned)), ("coppice", record),
      ] {
        try OutputDirectory.write((json.serialized(indent: 2) + "\n").utf8, to: "\(directory)/\(name).json")
      }
      if let importance {
        try OutputDirectory.write(KeptFile.bytes(importance), to: directory + "/coppice_importance.json")
      }
      try companions.copy(to: directory)
      for (name, text) in documents { try OutputDirectory.write(text.utf8, to: directory + "/" + name) }
      try CheckpointWriter.verify(directory: directory, against: plan)
      // What the written config describes must be what was written.
      let reread = try model.sibling(directory: directory)
      let expected =
        MetricsCounter(model.description, rows: 1, tokens: 1)
        .metrics(of: architecture).params + model.carriedTensors.reduce(0) { $0 + $1.elementCount }
      let found = reread.checkpoint.tensors.reduce(0) { $0 + $1.elementCount }
      guard found == expected else {
        throw ModelError("\(directory): \(found) parameters were written, \(expected) were planned")
      }
      // Last: the weights that were copied must be those that were hashed.
      try model.checkpoint.checkUnchanged()
      try check()
    }
  }

  /// The shape of pieces one after another.
  private static func shape(of pieces: [[Int]]) -> [Int] {
    guard pieces.count != 1, let first = pieces.first?.first else { return pieces.first ?? [] }
    return pieces.allSatisfy { $0 == pieces[0] } ? [pieces.count * first] + pieces[0].dropFirst() : []
  }

  /// What stands in the place of what was sliced, as it is to be written; nil for nothing.
  private func replaced(_ part: Part) throws -> Tensor? {
    guard let origin = part.origin, var tensor = try replacement(origin.weight, origin.layer) else { return nil }
    if let expert = part.expert { tensor = try tensor.select(dim: 0, index: expert) }
    if origin.weight.isStoredTransposed { tensor = try tensor.transpose(0, 1) }
    guard tensor.shape == part.target.shape, let dtype = part.target.type.dtype else {
      throw ModelError("\(part.target.name): what replaces it has shape \(tensor.shape), not \(part.target.shape)")
    }
    if let (offset, factor) = part.change {
      tensor = try tensor.to(.float32).adding(offset).multiplied(by: factor).subtracting(offset)
    }
    return try tensor.to(dtype).contiguous()
  }

  /// The weight, and its layer, where it is rotated; nil where it is sliced.
  private func turned(_ part: Part) -> (weight: Weight, layer: Int?)? {
    guard rotated != nil, let origin = part.origin,
      model.description.rotationRole(of: origin.weight, layer: origin.layer) != nil
    else { return nil }
    return origin
  }

  /// What is kept of a tensor in the rotated basis, piece by piece: some rows or one expert at a time.
  private func forEachTurned(
    _ part: Part, _ weight: Weight, _ layer: Int?, _ body: (Tensor) throws -> Void
  ) throws {
    guard let rotated else { return }
    let (dropped, source) = (weight.isPerExpert ? 1 : 0, try model.tensor(part.source.name))
    func indices(_ kept: [Int]) throws -> Tensor { try Tensor(kept.map(Int64.init), shape: [kept.count]) }
    for kept in part.pieces {
      let turnsFirst = weight.axes[dropped] == .hidden
      let rows = turnsFirst ? [] : kept[0] ?? Array(0..<source.shape[0])
      let step = max(Self.changedElements / max(source.elementCount / max(source.shape[0], 1), 1), 1)
      let slices =
        turnsFirst
        ? [nil]
        : stride(from: 0, to: rows.count, by: step).map {
          Optional(Array(rows[$0..<min($0 + step, rows.count)]))
        }
      for slice in slices {
        var tensor = try slice.map { try source.indexSelect(dim: 0, indices($0)) } ?? source
        for (dim, kept) in kept.enumerated().dropFirst() where weight.axes[dim + dropped] != .hidden {
          if let kept { tensor = try tensor.indexSelect(dim: dim, indices(kept)) }
        }
        try body(
          rotated.weights.turned(tensor, of: weight, layer: layer, dropped: dropped, keeping: rotated.count)
            .contiguous())
      }
    }
    model.checkpoint.release([part.source.name])
  }

  /// Elements that are rotated or rescaled at a time.
  private static let changedElements = 16 << 20

  /// What is kept of a tensor, its values changed, some rows at a time: in the type it is written in.
  private func forEachRescaled(
    _ part: Part, _ change: (offset: Double, factor: Double), _ body: (Tensor) throws -> Void
  ) throws {
    guard let dtype = part.target.type.dtype, let kept = part.pieces.first else { return }
    let source = try model.tensor(part.source.name)
    func indices(_ kept: [Int]) throws -> Tensor { try Tensor(kept.map(Int64.init), shape: [kept.count]) }
    let rows = kept[0] ?? Array(0..<source.shape[0])
    let step = max(Self.changedElements / max(source.elementCount / max(source.shape[0], 1), 1), 1)
    for first in stride(from: 0, to: rows.count, by: step) {
      var tensor = try source.indexSelect(dim: 0, indices(Array(rows[first..<min(first + step, rows.count)])))
      for (dim, kept) in kept.enumerated().dropFirst() {
        if let kept { tensor = try tensor.indexSelect(dim: dim, indices(kept)) }
      }
      let wide = try tensor.to(.float64).adding(change.offset).multiplied(by: change.factor).subtracting(change.offset)
      try body(wide.to(dtype).contiguous())
    }
    model.checkpoint.release([part.source.name])
  }

}
