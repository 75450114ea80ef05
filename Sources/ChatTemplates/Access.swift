/// `object.name` and `object[index]`, as the sandbox has them.
extension Interpreter {
  /// `object.name`: Python's attribute first, then the entry of that name.
  func attribute(_ name: Text, of object: Value) throws -> Value {
    switch object {
    case .dict(let dict):
      // Names of methods are short and few; most names are those of entries.
      if DictMethods.names.contains(name) { return try method(name, of: object) ?? missing(name, in: object) }
      if name.isDunder { return unsafe(name, object) }
      return dict[name] ?? missing(name, in: object)
    case .namespace(let namespace): return namespace.values[name] ?? missing(name, in: object)
    case .loop(let loop):
      if let value = try self.attribute(name, of: loop) { return value }
    case .undefined(let undefined): throw undefined.error
    default: break
    }
    if name.isDunder { return unsafe(name, object) }
    return try method(name, of: object) ?? missing(name, in: object)
  }

  /// `object[index]`: the entry first, then Python's attribute of that name.
  func item(_ index: Value, of object: Value) throws -> Value {
    switch object {
    case .dict(let dict):
      try scanKey(index)
      // What has no hash is no key, but no error here either.
      if let value = try? dict.value(of: index) { return value }
    case .list(let list), .tuple(let list):
      if let at = index.int, let place = place(at, list.items.count) { return list.items[place] }
    case .text(let text):
      if let at = index.int {
        let count = text.count
        if !text.isASCII { try budget.scan(bytes: text.utf8.count) }
        if let place = place(at, count) { return .text(text.part(place, place + 1)) }
      }
    case .range(let span): if let at = index.int, let place = place(at, span.count) { return .int(span[place]) }
    case .undefined(let undefined): throw undefined.error
    default: break
    }
    guard case .text(let name) = index else { return missing(index, in: object) }
    if case .namespace(let namespace) = object { return namespace.values[name] ?? missing(name, in: object) }
    if case .loop(let loop) = object, let value = try attribute(name, of: loop) { return value }
    if name.isDunder { return unsafe(name, object) }
    return try method(name, of: object) ?? missing(name, in: object)
  }

  private func place(_ index: Int, _ count: Int) -> Int? {
    let place = index < 0 ? index + count : index
    return place >= 0 && place < count ? place : nil
  }

  func missing(_ name: Text, in object: Value) -> Value {
    .undefined(Undefined("'\(object.description)' has no attribute '\(name.string)'"))
  }

  private func missing(_ index: Value, in object: Value) -> Value {
    if case .text(let name) = index { return missing(name, in: object) }
    let shown = (try? repr(index).string) ?? index.type
    return .undefined(Undefined("\(object.description) has no element \(shown)"))
  }

  func unsafe(_ name: Text, _ object: Value) -> Value {
    .undefined(Undefined("access to attribute '\(name.string)' of '\(object.type)' object is unsafe"))
  }

  /// A method of a value with the value; nil where the type has none of that name.
  func method(_ name: Text, of object: Value) throws -> Value? {
    switch object {
    case .text: return try StringMethods.all[name].map { try bind(name, object, $0) }
    case .dict:
      if DictMethods.unsafe.contains(name) { return unsafe(name, object) }
      return try DictMethods.all[name].map { try bind(name, object, $0) }
    case .list, .tuple, .range:
      if case .list = object, SequenceMethods.unsafe.contains(name) { return unsafe(name, object) }
      if name == "copy" { guard case .list = object else { return nil } }
      return try SequenceMethods.all[name].map { try bind(name, object, $0) }
    case .int, .big, .bool, .float:
      switch name {
      case "real", "numerator": return try apply(.add, object, .int(0))
      case "imag": return object.bigInt == nil ? .float(0) : .int(0)
      case "denominator" where object.bigInt != nil: return .int(1)
      default: break
      }
      return try NumberMethods.all[name].map { try bind(name, object, $0) }
    case .macro(let macro):
      switch name {
      case "name": return macro.definition.name.map { .text($0) } ?? Value.none
      case "arguments": return try tuple(macro.definition.parameters.map { .text($0.name) })
      case "catch_kwargs": return .bool(macro.definition.namedSlot != nil)
      case "catch_varargs": return .bool(macro.definition.positionalSlot != nil)
      case "caller": return .bool(macro.definition.callerSlot != nil)
      default: return nil
      }
    case .function(let function): return try function.members[name]?(self)
    default: return nil
    }
  }

  private func bind(_ name: Text, _ object: Value, _ method: @escaping Method) throws -> Value {
    .function(try Function(name.string, object: object) { try method($0, object, $1) })
  }

  private func attribute(_ name: Text, of loop: Loop) throws -> Value? {
    switch name {
    case "index": return .int(loop.index0 + 1)
    case "index0": return .int(loop.index0)
    case "first": return .bool(loop.index0 == 0)
    case "last": return .bool(try loop.next() == nil)
    case "length": return .int(try loop.count(self))
    case "revindex": return .int(try loop.count(self) - loop.index0)
    case "revindex0": return .int(try loop.count(self) - loop.index0 - 1)
    case "depth": return .int(loop.depth0 + 1)
    case "depth0": return .int(loop.depth0)
    case "previtem":
      return (loop.index0 == 0 ? nil : loop.previous) ?? .undefined(Undefined("there is no previous item"))
    case "nextitem": return try loop.next() ?? .undefined(Undefined("there is no next item"))
    case "cycle":
      return .function(
        try Function("cycle", object: .loop(loop)) { _, arguments in
          guard !arguments.positional.isEmpty, arguments.named.isEmpty else {
            throw TemplateError.raised("no items for cycling given")
          }
          return arguments.positional[max(0, loop.index0) % arguments.positional.count]
        })
    case "changed":
      return .function(
        try Function("changed", object: .loop(loop)) { interpreter, arguments in
          .bool(try loop.changed(arguments.positional, interpreter))
        })
    default: return nil
    }
  }

  // MARK: Slices

  /// `object[start:stop:step]`
  func slice(_ object: Value, _ start: Value?, _ stop: Value?, _ step: Value?) throws -> Value {
    func bound(_ value: Value?) throws -> Int? {
      switch value {
      case nil, .some(.none): return nil
      case .some(.big(let big)): return big.isNegative ? -(1 << 60) : 1 << 60
      case .some(let value):
        guard let int = value.int else {
          throw TemplateError.raised("slice indices must be integers or None")
        }
        return max(-(1 << 60), min(1 << 60, int))
      }
    }
    let count: Int
    switch object {
    case .undefined(let undefined): throw undefined.error
    case .text, .list, .tuple, .range: count = try length(object)
    case .dict: throw TemplateError.raised("unhashable type: 'slice'")
    default: throw TemplateError.raised("'\(object.type)' object is not subscriptable")
    }
    let by = try bound(step) ?? 1
    guard by != 0 else { throw TemplateError.raised("slice step cannot be zero") }
    func clamp(_ value: Int?, _ otherwise: Int) -> Int {
      guard var value else { return otherwise }
      if value < 0 { value += count }
      return by > 0 ? max(0, min(count, value)) : max(-1, min(count - 1, value))
    }
    let first = clamp(try bound(start), by > 0 ? 0 : count - 1)
    let last = clamp(try bound(stop), by > 0 ? count : -1)
    if by == 1 {
      switch object {
      case .text(let text):
        let part = text.part(first, last)
        try budget.take(bytes: part.utf8.count)
        return .text(part)
      case .list(let values): return try list(first < last ? Array(values.items[first..<last]) : [])
      case .tuple(let values): return try tuple(first < last ? Array(values.items[first..<last]) : [])
      default: break
      }
    }
    let indices = Array(Swift.stride(from: first, to: last, by: by))
    try budget.take(entries: indices.count)
    switch object {
    case .text(let text):
      let scalars = Array(text.scalars)
      try budget.take(entries: scalars.count)
      return .text(Text(indices.map { scalars[$0] }).marked(text.isMarkup))
    case .list(let values): return .list(try List(indices.map { values.items[$0] }))
    case .tuple(let values): return .tuple(try List(indices.map { values.items[$0] }))
    case .range(let span):
      let (step, overflow) = span.step.multipliedReportingOverflow(by: by)
      guard !overflow else { throw TemplateError.raised("range too big") }
      return .range(try Span(start: span[first], stop: span[last], step: step))
    default: throw TemplateError.raised("'\(object.type)' object is not subscriptable")
    }
  }
}

extension Text {
  /// `__class__` and its like, which the sandbox hides.
  var isDunder: Bool { utf8.count > 1 && utf8[0] == UInt8(ascii: "_") && utf8[1] == UInt8(ascii: "_") }
}
