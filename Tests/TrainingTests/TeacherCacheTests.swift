import Execution
import Foundation
import Models
import TestSupport
import Testing
import Torch

import Training

/// States of a teacher on disk.
@Suite struct TeacherCacheTests {
  @Test(arguments: [(192, DType.bfloat16), (192, .float32), (50, .float32)])
  func whatIsReadIsWhatWasGivenBack(_ hidden: Int, _ dtype: DType) throws {
    try withTemporaryDirectory { place in
      var random = SplitMix64(state: 3)
      var values = (0..<7 * hidden).map { _ in Float.random(in: -3...3, using: &random) }
      // A channel that is larger than all others, and a token of zeros.
      for token in 0..<7 { values[token * hidden + 5] *= 100 }
      for channel in 0..<hidden { values[3 * hidden + channel] = 0 }
      let states = try Tensor(values, shape: [7, hidden]).to(dtype)
      for precision in TeacherCache.Precision.allCases {
        let cache = TeacherCache(
          directory: "\(place)/\(precision)", hidden: hidden, dtype: dtype, precision: precision)
        let given = try cache.write("12", states)
        let read = try #require(cache.read("12", tokens: 7))
        #expect(try read.dtype == dtype && read.equals(given))
        if precision == .computed { #expect(try read.equals(states)) }
        // Within half a step of the largest of the group, and what bfloat16 makes of it.
        let error = try read.to(.float32).subtracting(states.to(.float32)).abs().amax().item()
        let largest = try states.to(.float32).abs().amax().item()
        #expect(error <= largest * (0.5 / 127 + (dtype == .bfloat16 ? 1.0 / 256 : 1e-6)))
        let far = try read.narrow(dim: 1, start: hidden - 40, length: 40).to(.float32)
          .subtracting(states.narrow(dim: 1, start: hidden - 40, length: 40).to(.float32)).abs().amax().item()
        if hidden == 192 { #expect(far <= 3 * (0.5 / 127 + 1.0 / 256), "an outlier is its own group's alone") }
        #expect(try read.select(dim: 0, index: 3).abs().amax().item() == 0)
        #expect(cache.read("12", tokens: 6) == nil && cache.read("13", tokens: 7) == nil)
        // Kept otherwise they are none.
        let other = TeacherCache(
          directory: "\(place)/\(precision)", hidden: hidden, dtype: dtype,
          precision: precision == .bytes ? .computed : .bytes)
        #expect(other.read("12", tokens: 7) == nil)
      }
    }
  }

  private func teacher(_ place: String?, _ likeliest: LikeliestRule?) throws -> Trainer {
    let source = try SourceModel(directory: Golden.root + "/Tests/Goldens/dense/llama3")
    let cache = place.map {
      TeacherCache(directory: $0, hidden: source.description.sizes[.hidden], dtype: .float32, likeliest: likeliest)
    }
    return try Trainer(
      TrainedModel(source, dtype: .float32), teacher: Teacher(Executor(source, dtype: .float32), cache: cache),
      rule: TrainingRule(
        loss: LossRule(temperature: likeliest?.temperature ?? 1),
        rate: LearningRate(peak: 1, end: 1, warmup: 0, steps: 1)))
  }

  private func files(_ place: String, _ kind: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: place).filter { $0.hasSuffix(kind) }.sorted().map {
      "\(place)/\($0)"
    }
  }

  /// Rows of unlike lengths, with padding.
  private let batch = TrainingBatch(
    [7, 4].enumerated().map { row, count in
      TrainingRow(
        tokens: (0...count).map { Int32(($0 * 31 + row * 17) % 19) }, shares: Array(repeating: 1, count: count))
    }, names: ["t0", "t1"])

  /// Likeliest tokens are read as they were given back, by whom they are kept for alone, and made again where they are damaged.
  @Test func likeliestTokensAreKept() throws {
    try withTemporaryDirectory { place in
      let rule = LikeliestRule(count: 5, temperature: 2)
      let made = try teacher(place, rule)
      let sums = try made.gradients([batch])
      let kept = try files(place, ".likeliest")
      #expect(try kept.count == 2 && files(place, ".states").isEmpty)
      let sizes = try kept.map { try FileManager.default.attributesOfItem(atPath: $0)[.size] as? Int }
      // 5 numbers of tokens, 6 logarithms, and the checksum.
      #expect(sizes == [7 * 32 + 32, 4 * 32 + 32])
      func same(_ trainer: Trainer, _ found: LossSums) throws -> Bool {
        guard found == sums else { return false }
        return try zip(made.model.parameters, trainer.model.parameters).allSatisfy {
          try $0.gradient()?.floats() == $1.gradient()?.floats()
        }
      }
      let read = try teacher(place, rule)
      #expect(try same(read, read.gradients([batch])))
      let first = try #require(FileManager.default.contents(atPath: kept[0]))
      for damaged in [first.dropLast(1), Data(first.prefix(50) + [first[50] ^ 1] + first.dropFirst(51)), Data()] {
        try Data(damaged).write(to: URL(fileURLWithPath: kept[0]))
        let again = try teacher(place, rule)
        #expect(try same(again, again.gradients([batch])))
        #expect(FileManager.default.contents(atPath: kept[0]) == first)
      }
      // Other rules have places of their own, and without a cache it is the divergence of a copy: nothing at all.
      for other in [LikeliestRule(count: 6, temperature: 2), LikeliestRule(count: 5, temperature: 1)] {
        _ = try teacher(place, other).gradients([batch])
      }
      #expect(try files(place, ".likeliest").count == 6)
      #expect(abs(sums.divergence) < 1e-5)
    }
  }

  /// What is read is what learns, another file another loss; and what is measured is of whole distributions.
  @Test func whatIsMeasuredIsOfAllTokens() throws {
    try withTemporaryDirectory { place in
      let rule = LikeliestRule(count: 3)
      let trainer = try teacher(place, rule)
      let plain = try teacher(nil, nil).losses([batch])
      #expect(try trainer.losses([batch]) == plain)
      #expect(try files(place, ".likeliest").isEmpty && files(place, ".states").count == 2)
      _ = try trainer.gradients([batch])
      let kept = try files(place, ".likeliest")
      // Of one row what is kept of another.
      let longer = TrainingBatch([TrainingRow(tokens: [1, 5, 9, 2, 7], shares: [1, 1, 1, 1])], names: ["t2"])
      let right = try teacher(place, rule).gradients([longer])
      try FileManager.default.removeItem(atPath: place + "/likeliest-3-1.0/0/t2.likeliest")
      try FileManager.default.copyItem(atPath: kept[1], toPath: place + "/likeliest-3-1.0/0/t2.likeliest")
      #expect(try teacher(place, rule).gradients([longer]).divergence > right.divergence + 1e-3)
    }
  }
}
