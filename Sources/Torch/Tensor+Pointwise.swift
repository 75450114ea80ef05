import CTorch

// Element by element. Shapes of two tensors are broadcast and types promoted by PyTorch's rules; a number
// takes the tensor's type where it is of the same kind.

/// The two forms of the Gaussian error linear unit (Hendrycks & Gimpel 2016).
public enum GELUApproximation: Sendable {
  /// x · Φ(x), exactly.
  case none
  /// The tanh form: `gelu_pytorch_tanh`, `gelu_new` in configurations.
  case tanh
}

extension Tensor {
  @inline(__always)
  private func unary(_ op: ct_unary, _ operation: StaticString = #function) throws -> Tensor {
    try Self.make(self, operation: operation) { $0.pointee.unary(op, handle, &$1) }
  }

  @inline(__always)
  private func binary(_ op: ct_binary, _ other: Tensor, _ operation: StaticString = #function) throws -> Tensor {
    try Self.make(self, other, operation: operation) { $0.pointee.binary(op, handle, other.handle, &$1) }
  }

  @inline(__always)
  private func scalar(_ op: ct_binary, _ value: Double, _ operation: StaticString = #function) throws -> Tensor {
    try Self.make(self, operation: operation) { $0.pointee.scalar(op, handle, value, &$1) }
  }

  @inline(__always)
  private func change(_ op: ct_binary, _ other: Tensor, _ operation: StaticString = #function) throws {
    try Self.run(self, other, operation: operation) { $0.pointee.binary_(op, handle, other.handle) }
  }

  @inline(__always)
  private func change(_ op: ct_binary, _ value: Double, _ operation: StaticString = #function) throws {
    try Self.run(self, operation: operation) { $0.pointee.scalar_(op, handle, value) }
  }

  // MARK: Arithmetic

  /// The sum.
  public func adding(_ other: Tensor) throws -> Tensor { try binary(CT_ADD, other) }
  public func adding(_ value: Double) throws -> Tensor { try scalar(CT_ADD, value) }
  /// The difference.
  public func subtracting(_ other: Tensor) throws -> Tensor { try binary(CT_SUB, other) }
  public func subtracting(_ value: Double) throws -> Tensor { try scalar(CT_SUB, value) }
  /// The product.
  public func multiplied(by other: Tensor) throws -> Tensor { try binary(CT_MUL, other) }
  public func multiplied(by value: Double) throws -> Tensor { try scalar(CT_MUL, value) }
  /// The true quotient: of integers too.
  public func divided(by other: Tensor) throws -> Tensor { try binary(CT_DIV, other) }
  public func divided(by value: Double) throws -> Tensor { try scalar(CT_DIV, value) }
  /// The quotient rounded down, in the tensor's type.
  public func floorDivided(by value: Double) throws -> Tensor { try scalar(CT_FLOOR_DIVIDE, value) }
  /// The rest that `floorDivided` leaves; it has the divisor's sign.
  public func remainder(_ value: Double) throws -> Tensor { try scalar(CT_REMAINDER, value) }
  /// Each element to a power.
  public func pow(_ exponent: Double) throws -> Tensor { try scalar(CT_POW, exponent) }
  public func pow(_ exponent: Tensor) throws -> Tensor { try binary(CT_POW, exponent) }
  /// The larger of two elements.
  public func maximum(_ other: Tensor) throws -> Tensor { try binary(CT_MAXIMUM, other) }
  /// The smaller of two elements.
  public func minimum(_ other: Tensor) throws -> Tensor { try binary(CT_MINIMUM, other) }

  // MARK: Arithmetic in place; the tensor keeps its shape and type

  /// Adds in place.
  public func add(_ other: Tensor) throws { try change(CT_ADD, other) }
  public func add(_ value: Double) throws { try change(CT_ADD, value) }
  /// Adds `other` × `scale` in place.
  public func add(_ other: Tensor, scaledBy scale: Double) throws {
    try Self.run(self, other) { $0.pointee.add_scaled_(handle, other.handle, scale) }
  }
  /// Adds `first` × `second` × `scale` in place, without memory for the product.
  public func addProduct(_ first: Tensor, _ second: Tensor, scaledBy scale: Double = 1) throws {
    try Self.run(self, first, second) { $0.pointee.add_product_(handle, first.handle, second.handle, scale) }
  }
  /// Subtracts in place.
  public func subtract(_ other: Tensor) throws { try change(CT_SUB, other) }
  public func subtract(_ value: Double) throws { try change(CT_SUB, value) }
  /// Multiplies in place.
  public func multiply(by other: Tensor) throws { try change(CT_MUL, other) }
  public func multiply(by value: Double) throws { try change(CT_MUL, value) }
  /// Divides in place.
  public func divide(by other: Tensor) throws { try change(CT_DIV, other) }
  public func divide(by value: Double) throws { try change(CT_DIV, value) }
  /// Overwrites every element.
  public func fill(_ value: Double) throws {
    try Self.run(self) { $0.pointee.fill_(handle, value) }
  }

  // MARK: Functions

  public func negated() throws -> Tensor { try unary(CT_NEG) }
  public func abs() throws -> Tensor { try unary(CT_ABS) }
  public func square() throws -> Tensor { try unary(CT_SQUARE) }
  public func sqrt() throws -> Tensor { try unary(CT_SQRT) }
  /// 1 / √x.
  public func rsqrt() throws -> Tensor { try unary(CT_RSQRT) }
  public func reciprocal() throws -> Tensor { try unary(CT_RECIPROCAL) }
  public func exp() throws -> Tensor { try unary(CT_EXP) }
  /// The natural logarithm.
  public func log() throws -> Tensor { try unary(CT_LOG) }
  /// log(1 + x), exact near zero.
  public func log1p() throws -> Tensor { try unary(CT_LOG1P) }
  public func cos() throws -> Tensor { try unary(CT_COS) }
  public func sin() throws -> Tensor { try unary(CT_SIN) }
  public func tanh() throws -> Tensor { try unary(CT_TANH) }
  public func sigmoid() throws -> Tensor { try unary(CT_SIGMOID) }
  /// x · sigmoid(x).
  public func silu() throws -> Tensor { try unary(CT_SILU) }
  public func relu() throws -> Tensor { try unary(CT_RELU) }
  /// log(1 + eˣ).
  public func softplus() throws -> Tensor { try unary(CT_SOFTPLUS) }
  /// The Gaussian error linear unit.
  public func gelu(approximate: GELUApproximation = .none) throws -> Tensor {
    try unary(approximate == .tanh ? CT_GELU_TANH : CT_GELU)
  }

  /// `silu` in place: saves a tensor the size of the feed-forward layer.
  public func applySiLU() throws {
    try Self.run(self) { $0.pointee.unary_(CT_SILU, handle) }
  }

  /// Each element limited to `min` … `max`; nil is no limit.
  public func clamp(min: Double? = nil, max: Double? = nil) throws -> Tensor {
    try Self.make(self) { api, out in
      withOptional(min) { low in withOptional(max) { high in api.pointee.clamp(handle, low, high, &out) } }
    }
  }

  // MARK: Comparisons: bool tensors

  public func eq(_ other: Tensor) throws -> Tensor { try binary(CT_EQ, other) }
  public func eq(_ value: Double) throws -> Tensor { try scalar(CT_EQ, value) }
  public func ne(_ other: Tensor) throws -> Tensor { try binary(CT_NE, other) }
  public func ne(_ value: Double) throws -> Tensor { try scalar(CT_NE, value) }
  public func gt(_ other: Tensor) throws -> Tensor { try binary(CT_GT, other) }
  public func gt(_ value: Double) throws -> Tensor { try scalar(CT_GT, value) }
  public func ge(_ other: Tensor) throws -> Tensor { try binary(CT_GE, other) }
  public func ge(_ value: Double) throws -> Tensor { try scalar(CT_GE, value) }
  public func lt(_ other: Tensor) throws -> Tensor { try binary(CT_LT, other) }
  public func lt(_ value: Double) throws -> Tensor { try scalar(CT_LT, value) }
  public func le(_ other: Tensor) throws -> Tensor { try binary(CT_LE, other) }
  public func le(_ value: Double) throws -> Tensor { try scalar(CT_LE, value) }
  public func logicalAnd(_ other: Tensor) throws -> Tensor { try binary(CT_LOGICAL_AND, other) }
  public func logicalOr(_ other: Tensor) throws -> Tensor { try binary(CT_LOGICAL_OR, other) }
  public func logicalNot() throws -> Tensor { try unary(CT_LOGICAL_NOT) }
  /// Neither infinite nor NaN.
  public func isFinite() throws -> Tensor { try unary(CT_IS_FINITE) }
}
