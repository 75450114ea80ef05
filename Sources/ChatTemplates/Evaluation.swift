extension Interpreter {
  /// The value of an expression.
  func evaluate(_ expression: Expression, _ activation: Activation) throws -> Value {
    try budget.step()
    depth += 1
    defer { depth -= 1 }
    guard depth <= Budget.maximumDepth else { throw tooDeep }
    switch expression.kind {
    case .constant(let value): return value
    case .name(let name): return value(name.place, activation) ?? .undefined(Undefined(name: name.name))
    case .attribute(let object, let name): return try attribute(name, of: try evaluate(object, activation))
    case .item(let object, let index): return try evaluateItem(object, index, activation)
    case .and(let left, let right):
      let value = try evaluate(left, activation)
      return value.isTrue ? try evaluate(right, activation) : value
    case .or(let left, let right):
      let value = try evaluate(left, activation)
      return value.isTrue ? value : try evaluate(right, activation)
    case .not(let operand): return .bool(!(try evaluate(operand, activation).isTrue))
    case .conditional(let value, let test, let otherwise):
      if try evaluate(test, activation).isTrue { return try evaluate(value, activation) }
      if let otherwise { return try evaluate(otherwise, activation) }
      return .undefined(Undefined("the inline if-expression evaluated to false and has no else"))
    case .comparison(let first, let others): return try compare(first, others, activation)
    case .binary(let operation, let left, let right):
      let a = try evaluate(left, activation)
      let b = try evaluate(right, activation)
      line = expression.line
      return try apply(operation, a, b)
    case .call: return try evaluateCall(expression, activation)
    case .filter(let value, _):
      guard let value else { throw TemplateError.raised("a filter without a value") }
      return try filtered(try evaluate(value, activation), expression, activation, isInnermost: true)
    case .test(let value, let test): return try evaluateTest(value, test, activation, line: expression.line)
    default: return try evaluateRest(expression, activation)
    }
  }

  /// What is rarer, in a function of its own: every call of `evaluate` takes the stack of all its cases.
  @inline(never)
  private func evaluateRest(_ expression: Expression, _ activation: Activation) throws -> Value {
    switch expression.kind {
    case .tuple(let items): return try tuple(try items.map { try evaluate($0, activation) })
    case .list(let items): return try list(try items.map { try evaluate($0, activation) })
    case .dict(let items):
      try budget.take(entries: items.count)
      return .dict(
        try Dict(try items.map { (try evaluate($0.key, activation), try evaluate($0.value, activation)) }))
    case .concatenation(let parts):
      var out: [UInt8] = []
      for part in parts {
        let text = try str(try evaluate(part, activation))
        try budget.take(bytes: text.utf8.count)
        out += text.utf8
        guard out.count <= Budget.maximumValue else { throw budget.tooLarge }
      }
      return .text(Text(out))
    case .negative(let operand): return try negate(try evaluate(operand, activation))
    case .positive(let operand):
      let value = try evaluate(operand, activation)
      if case .undefined(let undefined) = value { throw undefined.error }
      if let int = value.int { return .int(int) }
      guard value.double != nil else { throw TemplateError.raised("bad operand type for unary +: '\(value.type)'") }
      return value
    default: throw TemplateError.raised("a slice stands outside of brackets")
    }
  }

  @inline(never)
  private func compare(
    _ first: Expression, _ others: [(ComparisonOperator, Expression)], _ activation: Activation
  ) throws -> Value {
    var left = try evaluate(first, activation)
    for (operation, expression) in others {
      let right = try evaluate(expression, activation)
      guard try holds(left, operation, right) else { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  @inline(never)
  private func evaluateItem(_ object: Expression, _ index: Expression, _ activation: Activation) throws -> Value {
    let value = try evaluate(object, activation)
    if case .slice(let start, let stop, let step) = index.kind {
      return try slice(
        value, try start.map { try evaluate($0, activation) }, try stop.map { try evaluate($0, activation) },
        try step.map { try evaluate($0, activation) })
    }
    return try item(try evaluate(index, activation), of: value)
  }

  @inline(never)
  func evaluateCall(_ call: Expression, _ activation: Activation, caller: Value? = nil) throws -> Value {
    guard case .call(let callee, let arguments) = call.kind else { return try evaluate(call, activation) }
    let function = try evaluate(callee, activation)
    var values = try evaluate(arguments, activation)
    if let caller {
      guard !values.named.contains(where: { $0.name == "caller" }) else {
        throw TemplateError.raised("got multiple values for the keyword argument 'caller'")
      }
      values.named.append(("caller", caller))
    }
    line = call.line
    return try self.call(function, values)
  }

  func call(_ function: Value, _ arguments: Arguments) throws -> Value {
    switch function {
    case .function(let function): return try function.call(self, arguments)
    case .macro(let macro): return try macro.call(arguments, self)
    case .loop(let loop):
      guard let recurse = loop.recurse else {
        throw TemplateError.raised("the loop must have the 'recursive' marker to be called recursively")
      }
      let values = try arguments.bound("loop", ["iterable"], required: 1)
      return try recurse(values[0] ?? .none, loop.depth0 + 1)
    case .undefined(let undefined): throw undefined.error
    default: throw TemplateError.raised("'\(function.type)' object is not callable")
    }
  }

  private func evaluate(_ arguments: CallArguments, _ activation: Activation) throws -> Arguments {
    var result = Arguments()
    for expression in arguments.positional { result.positional.append(try evaluate(expression, activation)) }
    if let list = arguments.list { result.positional += try items(try evaluate(list, activation)) }
    for (name, expression) in arguments.named { result.named.append((name, try evaluate(expression, activation))) }
    if let dict = arguments.dict {
      let value = try evaluate(dict, activation)
      guard case .dict(let entries) = value else {
        throw TemplateError.raised("argument after ** must be a mapping, not \(value.type)")
      }
      for (key, value) in zip(entries.keys, entries.values) {
        guard let name = key.text else { throw TemplateError.raised("keywords must be strings") }
        guard !result.named.contains(where: { $0.name == name }) else {
          throw TemplateError.raised("got multiple values for the keyword argument '\(name.string)'")
        }
        result.named.append((name, value))
      }
    }
    return result
  }

  /// A value after all filters of a chain that begins with a block's text, or after the last filter of others.
  @inline(never)
  func filtered(
    _ value: Value, _ expression: Expression, _ activation: Activation, isInnermost: Bool = false
  ) throws -> Value {
    guard case .filter(let inner, let filter) = expression.kind else { return value }
    var value = value
    if !isInnermost, let inner { value = try filtered(value, inner, activation) }
    let arguments = try evaluate(filter.arguments, activation)
    line = expression.line
    guard let operation = filter.operation else {
      throw TemplateError.raised("there is no filter '\(filter.name)'")
    }
    return try operation(self, value, arguments)
  }

  @inline(never)
  private func evaluateTest(
    _ expression: Expression, _ test: Application<Test>, _ activation: Activation, line: Int
  ) throws -> Value {
    let value = try evaluate(expression, activation)
    let arguments = try evaluate(test.arguments, activation)
    self.line = line
    guard let operation = test.operation else { throw TemplateError.raised("there is no test '\(test.name)'") }
    return .bool(try operation(self, value, arguments))
  }
}
