import Models
import Ranks

extension ModelDescription {
  /// The weights outside the layers that learn: what stands beside the language model is carried along, and tables of the layers'
  /// own inputs, which are larger than all the rest, are left as they are.
  var trainedOuterWeights: [Weight] {
    let resting = Set(others + (layerInputs.map { [$0.table] } ?? []))
    return outerWeights.filter { !resting.contains($0) }
  }

  /// Those of them that belong to the first or the last stage of a pipeline; an embedding that is the head belongs to both.
  func trainedOuterWeights(isFirst: Bool, isLast: Bool) -> [Weight] {
    let end = Set(finalNorm.weights + [head ?? embedding] + [headBias].compactMap { $0 })
    return trainedOuterWeights.filter { weight in
      isLast && end.contains(weight) || isFirst && (weight == embedding || !end.contains(weight))
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
    let outer = trainedOuterWeights.map {
      ParameterSlot(name: .init(weight: $0, layer: nil, expert: nil), shape: $0.shape(sizes))
    }
    let inner = layers.enumerated().flatMap { layer, content in
      content.weights.flatMap { weight in
        let shape = weight.shape(sizes)
        guard weight.isPerExpert, let experts = shape.first else {
          return [ParameterSlot(name: .init(weight: weight, layer: layer, expert: nil), shape: shape)]
        }
        return (0..<experts).map {
          ParameterSlot(name: .init(weight: weight, layer: layer, expert: $0), shape: Array(shape.dropFirst()))
        }
      }
    }
    return outer.prefix(1) + inner + outer.dropFirst()
  }
}

extension CrewLayout {
  /// The processes that have a parameter, ascending.
  func holders(of slot: ParameterSlot, _ description: ModelDescription) -> [Int] {
    // Also what is learned beside the model.
    guard stages.count > 1 else { return Array(0..<ranks) }
    return (0..<ranks).filter { rank in
      let stage = stage(of: rank)
      if let layer = slot.name.layer { return stages[stage].contains(layer) }
      return description.trainedOuterWeights(isFirst: stage == 0, isLast: stage == stages.count - 1)
        .contains(slot.name.weight)
    }
  }
}
