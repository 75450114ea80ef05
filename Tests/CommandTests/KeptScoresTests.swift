import Foundation
import TestSupport
import Testing

/// Kept scores are used as they were written or not at all.
@Suite struct KeptScoresTests {
  @Test func noFlippedBitIsUsed() throws {
    try withTemporaryDirectory { directory in
      let kept = directory + "/kept"
      let flags =
        [
          "--prune_target_params", "3M", "--ss_channel_divisor", "32", "--prune_score_func", "neg_loss",
          "--eval_num_samples", "2", "--top_k", "2", "--prune_intermediate_ckpt", kept,
        ]
      try Program.run(prune(to: directory + "/out", flags)).expectSuccess()
      let names = try FileManager.default.contentsOfDirectory(atPath: kept).sorted()
      #expect(names.count == 2 && names[0] == "importance.json" && names[1].hasPrefix("scores-"))
      var generator = SplitMix64(state: 5)
      for name in names {
        let file = URL(fileURLWithPath: kept + "/" + name)
        let good = try Data(contentsOf: file)
        // The ends, and somewhere between.
        let bits = [0, good.count * 8 - 1] + (0..<4).map { _ in Int(generator.next() % UInt64(good.count * 8)) }
        for bit in bits {
          var bad = good
          bad[bit / 8] ^= 1 << (bit % 8)
          try bad.write(to: file)
          try Program.run(prune(to: directory + "/again", flags)).expectFailure(saying: name, "damaged", "--fresh")
          #expect(try Data(contentsOf: file) == bad)
        }
        try good.write(to: file)
      }
      #expect(!FileManager.default.fileExists(atPath: directory + "/again"))
      try Program.run(prune(to: directory + "/again", flags)).expectSuccess()
    }
  }
}
