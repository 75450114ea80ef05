import TestSupport
import Testing
import Torch

/// One at a time: the choice of an instruction set is the process's.
@Suite(.serialized) enum KernelTests {}

/// Runs `body` with every instruction set that this machine has, and with libtorch's operators alone.
func withEachKernel(_ body: (String) throws -> Void) throws {
  try WholeProcess.alone { try useEachKernel(body) }
}

private func useEachKernel(_ body: (String) throws -> Void) throws {
  defer { try? Kernels.use(nil) }
  var used = 0
  for name in ["generic", "avx2", "avx512", "avx512_bf16", "off"] {
    guard (try? Kernels.use(name)) != nil else { continue }
    #expect(try Kernels.name == name)
    used += 1
    try body(name)
  }
  #expect(used >= 2)
}

/// Numbers about one in size, the same ones at every run, with some that are large and some that are zero.
func sample(_ shape: [Int], _ dtype: DType, seed: UInt64 = 1, scale: Float = 1) throws -> Tensor {
  var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
  let values = (0..<shape.reduce(1, *)).map { index -> Float in
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    let uniform = Float(state >> 40) / Float(1 << 24) * 2 - 1
    return index % 97 == 5 ? 0 : index % 89 == 7 ? uniform * 8 * scale : uniform * 1.7 * scale
  }
  return try Tensor(values, shape: shape).to(dtype)
}

/// Checks that `found` has shape and type of `expected`, and elements within `ulps` roundings of its type, or
/// `absolute`. NaN and infinities must stand in the same places.
func expectClose(
  _ found: Tensor, _ expected: Tensor, ulps: Float = 1, absolute: Float = 1e-6, _ comment: String = "",
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  #expect(found.shape == expected.shape, "\(comment)", sourceLocation: sourceLocation)
  #expect(found.dtype == expected.dtype, "\(comment)", sourceLocation: sourceLocation)
  let unit: Float = expected.dtype == .bfloat16 ? 1.0 / 128 : 1.0 / 2_097_152
  var worst: (Int, Float, Float)?
  for (index, (a, b)) in zip(try found.floats(), try expected.floats()).enumerated() {
    if a == b || (a.isNaN && b.isNaN) || abs(a - b) <= max(absolute, ulps * unit * abs(b)) { continue }
    if worst == nil || abs(a - b) > abs((worst?.1 ?? 0) - (worst?.2 ?? 0)) { worst = (index, a, b) }
  }
  if let (index, a, b) = worst {
    Issue.record("element \(index) is \(a), expected \(b): \(comment)", sourceLocation: sourceLocation)
  }
}
