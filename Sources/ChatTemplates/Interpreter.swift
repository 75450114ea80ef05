/// The variables of one call of a function.
final class Activation {
  var slots: [Value?]
  let parent: Activation?
  var isKept = false

  init(_ count: Int, parent: Activation?) {
    slots = Array(repeating: nil, count: count)
    self.parent = parent
  }
}

/// One rendering of a template.
final class Interpreter {
  var budget: Budget
  /// What is written at the moment: the template's text, or that of a macro or a block.
  var out: [UInt8] = []
  /// The line of what is evaluated at the moment.
  var line = 1
  /// Namespaces whose text is being written, so that one in itself ends.
  var written: Set<ObjectIdentifier> = []
  /// The time that `strftime_now` tells.
  let clock: Clock
  private let globals: [Text: Value]
  var depth = 0
  /// What may refer to itself, to be taken apart at the end.
  private var activations: [Activation] = []
  private var namespaces: [Namespace] = []

  init(globals: [Text: Value], budget: Budget, clock: Clock) {
    self.globals = globals
    self.budget = budget
    self.clock = clock
  }

  /// The text of a template.
  ///
  /// - Throws: `TemplateError`, with the line.
  func render(_ program: Program) throws -> [UInt8] {
    defer { release() }
    do {
      let activation = try self.activation(program.slots, parent: nil)
      enter(program.frame, activation)
      _ = try execute(program.body, activation)
      return out
    } catch var error as TemplateError {
      if error.line == nil { error.line = line }
      throw error
    }
  }

  private func release() {
    for activation in activations { activation.slots = [] }
    for namespace in namespaces { namespace.values = [:] }
  }

  /// Variables of a function that is called.
  func activation(_ count: Int, parent: Activation?) throws -> Activation {
    try budget.take(bytes: 64 + 32 * count)
    if let parent { keep(parent) }
    return Activation(count, parent: parent)
  }

  /// Takes variables apart at the end, since something that they hold may hold on to them.
  func keep(_ activation: Activation) {
    guard !activation.isKept else { return }
    activation.isKept = true
    activations.append(activation)
  }

  func namespace() throws -> Namespace {
    try budget.take(bytes: 128)
    let namespace = Namespace()
    namespaces.append(namespace)
    return namespace
  }

  /// - Throws: `TemplateError`, budget, where calls are nested too deep.
  func deeper<Result>(_ body: () throws -> Result) throws -> Result {
    depth += 1
    defer { depth -= 1 }
    guard depth <= Budget.maximumDepth else { throw tooDeep }
    return try body()
  }

  var tooDeep: TemplateError {
    TemplateError(.budget, "calls are nested too deep: does a macro call itself without end?")
  }

  /// What `body` writes.
  func captured(_ body: () throws -> Void) throws -> Text {
    let outer = out
    out = []
    defer { out = outer }
    try body()
    return Text(out)
  }

  // MARK: Variables

  func enter(_ frame: FrameEntry, _ activation: Activation) {
    for load in frame.loads {
      switch load {
      case .global(let index, let name): activation.slots[index] = globals[name]
      case .copy(let index, let place): activation.slots[index] = value(place, activation)
      case .nothing(let index): activation.slots[index] = nil
      }
    }
  }

  func leave(_ frame: FrameEntry, _ activation: Activation) {
    for index in frame.leaves { activation.slots[index] = nil }
  }

  func value(_ place: Place, _ activation: Activation) -> Value? {
    var owner = activation
    for _ in 0..<place.up {
      guard let parent = owner.parent else { return nil }
      owner = parent
    }
    return place.index < owner.slots.count ? owner.slots[place.index] : nil
  }

  func assign(_ value: Value, to destination: Destination, _ activation: Activation) throws {
    switch destination {
    case .place(let index): activation.slots[index] = value
    case .attribute(let name, let attribute):
      guard case .namespace(let namespace)? = self.value(name.place, activation) else {
        throw TemplateError.raised("cannot assign attribute on non-namespace object")
      }
      try budget.take(bytes: 64)
      try namespace.set(attribute, value)
    case .tuple(let destinations):
      let iteration = try Iteration.over(value)
      var values: [Value] = []
      while values.count <= destinations.count, let value = try iteration.next() { values.append(value) }
      guard values.count == destinations.count else {
        throw TemplateError.raised(
          values.count > destinations.count
            ? "too many values to unpack (expected \(destinations.count))"
            : "not enough values to unpack (expected \(destinations.count), got \(values.count))")
      }
      for (value, destination) in zip(values, destinations) { try assign(value, to: destination, activation) }
    }
  }

  /// Namespaces are looked for before anything is assigned.
  private func checkNamespaces(_ destination: Destination, _ activation: Activation) throws {
    switch destination {
    case .place: break
    case .attribute(let name, _):
      guard case .namespace? = value(name.place, activation) else {
        throw TemplateError.raised("cannot assign attribute on non-namespace object")
      }
    case .tuple(let destinations): for inner in destinations { try checkNamespaces(inner, activation) }
    }
  }

  // MARK: Statements

  func execute(_ statements: [Statement], _ activation: Activation) throws -> Flow {
    for statement in statements {
      let flow = try execute(statement, activation)
      if flow != .normal { return flow }
    }
    return .normal
  }

  private func execute(_ statement: Statement, _ activation: Activation) throws -> Flow {
    try budget.step()
    line = statement.line
    switch statement.kind {
    case .output(let pieces): try write(pieces, activation)
    case .condition(let branches, let otherwise):
      for branch in branches where try evaluate(branch.test, activation).isTrue {
        return try deeper { try execute(branch.body, activation) }
      }
      return try deeper { try execute(otherwise, activation) }
    case .loop(let loop): return try run(loop, activation)
    case .assignment(let assignment): return try run(assignment, activation)
    case .macro(let definition):
      try assign(.macro(try Macro(definition, activation, self)), to: definition.place, activation)
    case .callBlock(let definition, let call):
      let caller = Value.macro(try Macro(definition, activation, self))
      try writeText(try evaluateCall(call, activation, caller: caller))
    case .generation(let definition):
      try write(try Macro(definition, activation, self).call(Arguments(), self))
    case .filterBlock(let block):
      enter(block.frame, activation)
      defer { leave(block.frame, activation) }
      var flow = Flow.normal
      let text = try captured { flow = try deeper { try execute(block.body, activation) } }
      if flow != .normal { return flow }
      try writeText(try filtered(.text(text), block.filter, activation))
    case .with(let with):
      enter(with.frame, activation)
      defer { leave(with.frame, activation) }
      for (destination, value) in zip(with.destinations, with.values) {
        try assign(try evaluate(value, activation), to: destination, activation)
      }
      return try deeper { try execute(with.body, activation) }
    case .leave(let flow): return flow
    case .refusal(let message): throw TemplateError.raised(message)
    }
    return .normal
  }

  private func run(_ assignment: Assignment, _ activation: Activation) throws -> Flow {
    switch assignment.source {
    case .expression(let expression):
      try checkNamespaces(assignment.destination, activation)
      let value = try evaluate(expression, activation)
      try assign(value, to: assignment.destination, activation)
    case .block(let body, let filter):
      enter(assignment.frame, activation)
      defer { leave(assignment.frame, activation) }
      var flow = Flow.normal
      let text = try captured { flow = try deeper { try execute(body, activation) } }
      if flow != .normal { return flow }
      var value = Value.text(text)
      if let filter { value = try filtered(value, filter, activation) }
      try assign(value, to: assignment.destination, activation)
    }
    return .normal
  }

  private func write(_ pieces: [Statement.Piece], _ activation: Activation) throws {
    for piece in pieces {
      switch piece {
      case .data(let text): try write(text)
      case .expression(let expression):
        line = expression.line
        try write(try evaluate(expression, activation))
      }
    }
  }

  /// What a block makes must be text: nothing is made into it.
  private func writeText(_ value: Value) throws {
    guard case .text(let text) = value else {
      throw TemplateError.raised("a block wants to write text, and this is \(value.type)")
    }
    try write(text)
  }

  private func write(_ value: Value) throws {
    if case .text(let text) = value { return try write(text) }
    try write(try str(value))
  }

  private func write(_ text: Text) throws {
    try budget.take(bytes: text.utf8.count)
    out.append(contentsOf: text.utf8)
  }
}
