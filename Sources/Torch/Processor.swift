import CTorch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What this machine's processor is good at. Does not open libtorch.
public enum Processor {
  /// Whether matrix products of bfloat16 are quicker than those of float32: the processor has instructions for them
  /// (avx512_bf16, or BF16 on ARM) and no environment variable keeps them from being used.
  public static var multipliesBFloat16: Bool { bfloat16Obstacle == nil }

  /// Why products of bfloat16 are not quick, to follow "because"; nil where they are.
  public static var bfloat16Obstacle: String? {
    guard let obstacle = ct_bfloat16_obstacle() else { return nil }
    let variable = String(cString: obstacle)
    guard !variable.isEmpty, let value = getenv(variable) else {
      return "this processor has no instructions for products of bfloat16"
    }
    return "\(variable) is \(String(cString: value))"
  }
}
