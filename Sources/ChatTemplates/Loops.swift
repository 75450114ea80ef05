/// `loop` in the body of a loop.
final class Loop {
  private let iterable: Value
  private var iteration: Iteration
  private(set) var index0 = -1
  private(set) var current: Value?
  private(set) var previous: Value?
  /// The next value, where it was looked at already: nil within means that there is none.
  private var peeked: Value??
  private var counted: Int?
  private var lastChanged: [Value]?
  let depth0: Int
  let depth: Int
  /// Runs the loop over other values, of a recursive loop.
  let recurse: ((Value, Int) throws -> Value)?

  init(_ iterable: Value, depth0: Int = 0, recurse: ((Value, Int) throws -> Value)? = nil) throws {
    self.iterable = iterable
    iteration = try Iteration.over(iterable)
    self.depth0 = depth0
    self.recurse = recurse
    depth = try List.depth(above: CollectionOfOne(iterable))
  }

  /// The next value; nil after the last.
  func advance() throws -> Value? {
    let value: Value?
    if let peeked {
      value = peeked
      self.peeked = nil
    } else {
      value = try iteration.next()
    }
    guard let value else { return nil }
    index0 += 1
    previous = current
    current = value
    return value
  }

  func next() throws -> Value? {
    if let peeked, peeked != nil { return peeked }
    let value = try iteration.next()
    peeked = .some(value)
    return value
  }

  /// How many values there are; of a generator, all are taken to count them.
  func count(_ interpreter: Interpreter) throws -> Int {
    if let counted { return counted }
    let count: Int
    if case .iterator = iterable {
      let rest = try interpreter.items(.iterator(iteration))
      iteration = Iteration(list: try List(rest))
      let hasPeeked = if let peeked, peeked != nil { 1 } else { 0 }
      count = rest.count + index0 + 1 + hasPeeked
    } else {
      count = try interpreter.length(iterable)
    }
    counted = count
    return count
  }

  /// `loop.changed(…)`
  func changed(_ values: [Value], _ interpreter: Interpreter) throws -> Bool {
    if let lastChanged, lastChanged.count == values.count {
      var isEqual = true
      for (a, b) in zip(lastChanged, values) where isEqual { isEqual = try interpreter.isEqual(a, b) }
      if isEqual { return false }
    }
    lastChanged = values
    return true
  }
}

extension Interpreter {
  func run(_ loop: ForLoop, _ activation: Activation) throws -> Flow {
    let iterable = try evaluate(loop.iterable, activation)
    guard loop.isRecursive else { return try run(loop, over: iterable, activation, outer: activation) }
    let text = try recurse(loop, over: iterable, depth0: 0, outer: activation)
    try budget.take(bytes: text.utf8.count)
    out.append(contentsOf: text.utf8)
    return .normal
  }

  private func recurse(_ loop: ForLoop, over iterable: Value, depth0: Int, outer: Activation) throws -> Text {
    try deeper {
      let activation = try self.activation(loop.slots, parent: outer)
      return try captured { _ = try run(loop, over: iterable, activation, outer: outer, depth0: depth0) }
    }
  }

  /// - Parameters:
  ///   - activation: where the loop's variables are.
  ///   - outer: where the loop stands.
  private func run(
    _ loop: ForLoop, over iterable: Value, _ activation: Activation, outer: Activation, depth0: Int = 0
  ) throws -> Flow {
    var iterable = iterable
    if let test = loop.test { iterable = .iterator(try tested(loop, test, iterable, outer)) }
    var isEmpty = true
    if let variable = loop.loopVariable {
      let context = try Loop(
        iterable, depth0: depth0,
        recurse: loop.isRecursive
          ? { [unowned self] in .text(try recurse(loop, over: $0, depth0: $1, outer: outer)) } : nil)
      rounds: while let item = try context.advance() {
        try assign(item, to: loop.destination, activation)
        activation.slots[variable] = .loop(context)
        switch try round(loop, activation) {
        case .normal: isEmpty = false
        case .leavesLoop: break rounds
        case .nextRound: break
        }
      }
    } else {
      let iteration = try Iteration.over(iterable)
      rounds: while let item = try iteration.next() {
        try assign(item, to: loop.destination, activation)
        switch try round(loop, activation) {
        case .normal: isEmpty = false
        case .leavesLoop: break rounds
        case .nextRound: break
        }
      }
    }
    leave(loop.frame, activation)
    // A round that was left early does not count: jinja's `else` runs after it.
    guard isEmpty, !loop.otherwise.isEmpty else { return .normal }
    enter(loop.otherwiseFrame, activation)
    defer { leave(loop.otherwiseFrame, activation) }
    return try deeper { try execute(loop.otherwise, activation) }
  }

  private func round(_ loop: ForLoop, _ activation: Activation) throws -> Flow {
    try budget.step()
    enter(loop.frame, activation)
    return try deeper { try execute(loop.body, activation) }
  }

  /// The values that pass the loop's own test, one by one as they are asked for.
  private func tested(_ loop: ForLoop, _ test: Expression, _ iterable: Value, _ outer: Activation) throws -> Iteration {
    let iteration = try Iteration.over(iterable)
    let activation = try self.activation(loop.testSlots, parent: outer)
    enter(loop.testFrame, activation)
    return try Iteration(over: [iterable]) { [unowned self] in
      while let item = try iteration.next() {
        try budget.step()
        try assign(item, to: loop.testDestination, activation)
        if try evaluate(test, activation).isTrue { return try repacked(item, loop.testDestination, activation) }
      }
      return nil
    }
  }

  /// What was taken apart comes out as tuples.
  private func repacked(_ item: Value, _ destination: Destination, _ activation: Activation) throws -> Value {
    switch destination {
    case .place(let index): return activation.slots[index] ?? item
    case .attribute: return item
    case .tuple(let destinations): return try tuple(try destinations.map { try repacked(item, $0, activation) })
    }
  }
}
