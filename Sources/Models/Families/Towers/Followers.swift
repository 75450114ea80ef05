import Checkpoint
import Torch

extension ModelDescription {
  /// The same model with the channels of its followers ranked by their weights, those first that carry most: by the product of the
  /// norms of what each weight has of a channel. Nothing is measured there, since calibration has no images.
  ///
  /// - Throws: what reading the weights throws. Weights that are missing or misshapen are passed over here.
  func rankingFollowers(in checkpoint: CheckpointReader) throws -> ModelDescription {
    var ranked = self
    for (dimension, order) in followers {
      var scores = [Float](repeating: 1, count: order.count)
      for weight in others where weight.axes.count == 2 {
        guard let axis = weight.axes.firstIndex(of: Axis(dimension)),
          checkpoint.entry(weight.name)?.shape == weight.shape(sizes)
        else { continue }
        let norms = try checkpoint.tensor(weight.name).norm(p: 2, dims: [1 - axis], dtype: .float32).floats()
        for (channel, norm) in norms.enumerated() { scores[channel] *= norm }
        checkpoint.release([weight.name])
      }
      ranked.followers[dimension] = scores.indices.sorted { (scores[$0], $1) > (scores[$1], $0) }
    }
    return ranked
  }
}
