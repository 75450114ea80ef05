/// What a function is called with.
struct Arguments {
  var positional: [Value] = []
  var named: [(name: Text, value: Value)] = []

  /// Takes a named argument away.
  mutating func take(_ name: Text) -> Value? {
    guard let index = named.firstIndex(where: { $0.name == name }) else { return nil }
    return named.remove(at: index).value
  }

  /// The arguments in the order of `names`, of which the first `required` must be there.
  ///
  /// - Throws: `TemplateError` where they do not fit.
  func bound(_ function: String, _ names: [Text], required: Int = 0) throws -> [Value?] {
    guard positional.count <= names.count else {
      throw TemplateError.raised("\(function)() takes at most \(names.count) arguments (\(positional.count) given)")
    }
    var values: [Value?] = positional + Array(repeating: nil, count: names.count - positional.count)
    for (name, value) in named {
      guard let index = names.firstIndex(of: name) else {
        throw TemplateError.raised("\(function)() got an unexpected keyword argument '\(name.string)'")
      }
      guard values[index] == nil else {
        throw TemplateError.raised("\(function)() got multiple values for argument '\(name.string)'")
      }
      values[index] = value
    }
    for index in 0..<required where values[index] == nil {
      throw TemplateError.raised("\(function)() missing the required argument '\(names[index].string)'")
    }
    return values
  }

  /// The same for a function that takes no named arguments.
  func positional(_ function: String, _ range: ClosedRange<Int>) throws -> [Value] {
    guard named.isEmpty else { throw TemplateError.raised("\(function)() takes no keyword arguments") }
    guard range.contains(positional.count) else {
      let expected =
        range.lowerBound == range.upperBound ? "\(range.lowerBound)" : "\(range.lowerBound) to \(range.upperBound)"
      throw TemplateError.raised("\(function)() takes \(expected) arguments (\(positional.count) given)")
    }
    return positional
  }
}

/// A macro with the variables around it.
final class Macro {
  let definition: MacroDefinition
  private let activation: Activation

  init(_ definition: MacroDefinition, _ activation: Activation, _ interpreter: Interpreter) throws {
    try interpreter.budget.take(bytes: 64)
    interpreter.keep(activation)
    self.definition = definition
    self.activation = activation
  }

  var displayName: String { definition.name.map { "'\($0)'" } ?? "anonymous" }

  /// Source: `Macro.__call__` of `jinja2/runtime.py`.
  func call(_ arguments: Arguments, _ interpreter: Interpreter) throws -> Value {
    var named = arguments
    let count = definition.parameters.count
    var values: [Value?] = Array(arguments.positional.prefix(count))
    var hasCaller = values.count == count && definition.hasExplicitCaller
    for parameter in definition.parameters.dropFirst(values.count) {
      values.append(named.take(Text(parameter.name)))
      if parameter.name == "caller" { hasCaller = true }
    }
    var caller: Value?
    if definition.callerSlot != nil, !hasCaller {
      caller = named.take("caller") ?? Value.none
      if caller?.isNone ?? true { caller = .undefined(Undefined("No caller defined")) }
    }
    if definition.namedSlot == nil, let unknown = named.named.first {
      throw TemplateError.raised(
        unknown.name == "caller"
          ? "macro \(displayName) was invoked with two values for the special caller argument"
          : "macro \(displayName) takes no keyword argument '\(unknown.name.string)'")
    }
    if definition.positionalSlot == nil, arguments.positional.count > count {
      throw TemplateError.raised("macro \(displayName) takes not more than \(count) argument(s)")
    }
    return try interpreter.deeper {
      let inner = try interpreter.activation(definition.slots, parent: activation)
      for (slot, value) in zip(definition.parameterSlots, values) { inner.slots[slot] = value }
      if let slot = definition.callerSlot { inner.slots[slot] = caller }
      if let slot = definition.namedSlot {
        inner.slots[slot] = .dict(try Dict(named.named.map { (.text($0.name), $0.value) }))
      }
      if let slot = definition.positionalSlot {
        inner.slots[slot] = try interpreter.tuple(Array(arguments.positional.dropFirst(count)))
      }
      interpreter.enter(definition.frame, inner)
      let firstDefault = count - definition.defaults.count
      for (index, slot) in definition.parameterSlots.enumerated() where inner.slots[slot] == nil {
        if index >= firstDefault {
          inner.slots[slot] = try interpreter.evaluate(definition.defaults[index - firstDefault], inner)
        } else {
          let name = definition.parameters[index].name
          inner.slots[slot] = .undefined(Undefined("parameter '\(name)' was not provided"))
        }
      }
      return .text(try interpreter.captured { _ = try interpreter.execute(definition.body, inner) })
    }
  }
}
