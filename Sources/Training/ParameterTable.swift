import Models
import Ranks

extension ModelDescription {
  /// The weights outside the layers that learn: what stands beside the language model is carried along, and tables of the layers'
  /// own inputs, which are larger than all the rest, are left as they are.
  var trainedOuterWeights: [Weight] {
    let resting = Set(others + (layerInputs.map { [$0.table] } ?? []))
    return outerWeights.filter { !resting.contains($0) }
  }

  /// Those of them that belong to a stage of a pipeline; an embedding that is the head belongs to the first and to the last.
  ///
  /// - Parameter stage: its layers, 0-based.
  func trainedOuterWeights(in stage: Range<Int>) -> [Weight] {
    let end = Set(finalNorm.weights + [head ?? embedding] + [headBias].compactMap { $0 })
    return trainedOuterWeights.filter { weight in
      stage.upperBound == layers.count && end.contains(weight)
        || stage.lowerBound == 0 && (weight == embedding || !end.contains(weight))
    }
  }
}

/// A tensor of a model that is trained, whichever process has it.
struct ParameterSlot {
  let name: Parameter.Name
  let shape: [Int]

  var elementCount: Int { shape.reduce(1, *) }
}

extension ModelDescription {
  /// Every tensor that learns, in the order of the checkpoint: embedding, layers, what follows.
  var parameterSlots: [ParameterSlot] {
    let outer = trainedOuterWeights.flatMap { slots(of: $0, layer: nil) }
    let inner = layers.enumerated().flatMap { layer, content in content.weights.flatMap { slots(of: $0, layer: layer) }
    }
    return outer.prefix(1) + inner + outer.dropFirst()
  }

  /// A weight's tensors.
  func slots(of weight: Weight, layer: Int?) -> [ParameterSlot] {
    weight.parts(sizes(inLayer: layer)).map {
      ParameterSlot(name: .init(weight: weight, layer: layer, expert: $0.expert), shape: $0.shape)
    }
  }
}

extension CrewLayout {
  /// The processes that have a parameter, ascending.
  func holders(of slot: ParameterSlot, _ description: ModelDescription) -> [Int] {
    // Also what is learned beside the model.
    guard stages.count > 1 else { return Array(0..<ranks) }
    return (0..<ranks).filter { rank in
      let stage = stages[stage(of: rank)]
      return slot.name.layer.map(stage.contains)
        ?? description.trainedOuterWeights(in: stage).contains(slot.name.weight)
    }
  }
}
