public import Models
import Torch

extension LayerWeights {
  /// The weights without the indices that `selection` drops: an index-select on every axis that is cut.
  public func sliced(by selection: Selection, layer: Int?, sizes: Sizes) throws -> LayerWeights {
    var tensors: [Weight: Tensor] = [:]
    // Many axes of a layer keep the same indices: each index tensor is made once.
    struct Cut: Hashable {
      let axis: Axis
      let expert: Int?
    }
    var made: [Cut: Tensor] = [:]
    func slice(_ tensor: Tensor, _ weight: Weight, expert: Int? = nil, skipping first: Int = 0) throws -> Tensor {
      let kept = selection.keptIndices(of: weight, layer: layer, expert: expert, sizes: sizes)
      var sliced = tensor
      for (dim, (axis, kept)) in zip(weight.axes, kept).dropFirst(first).enumerated() {
        guard let kept else { continue }
        let cut = Cut(axis: axis, expert: expert)
        let indices = try made[cut] ?? Tensor(kept.map(Int64.init), shape: [kept.count]).to(device: tensor.device)
        made[cut] = indices
        sliced = try sliced.indexSelect(dim: dim, indices)
      }
      return sliced
    }
    func keptExperts(_ count: Int) -> [Int] { selection.kept(.experts, layer: layer) ?? Array(0..<count) }
    for (weight, tensor) in all {
      guard selection.isCutByExpert(weight, layer: layer) else {
        tensors[weight] = try slice(tensor, weight)
        continue
      }
      let parts = try keptExperts(tensor.shape[0]).map {
        try slice(tensor.select(dim: 0, index: $0), weight, expert: $0, skipping: 1).unsqueeze(0)
      }
      tensors[weight] = try Tensor.cat(parts, dim: 0)
    }
    var experts: [Weight: [Tensor]] = [:]
    for (weight, list) in allExperts {
      let byExpert = selection.isCutByExpert(weight, layer: layer)
      // Experts that are dropped are not read at all.
      experts[weight] = try keptExperts(list.count).map {
        try slice(list[$0], weight, expert: byExpert ? $0 : nil, skipping: 1)
      }
    }
    return LayerWeights(tensors, experts: experts)
  }
}
