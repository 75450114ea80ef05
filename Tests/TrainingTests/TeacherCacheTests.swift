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
}
