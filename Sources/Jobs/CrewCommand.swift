import Execution
import JSON
import Minitron
import Models

/// What rank 0 asks of the others.
enum CrewCommand {
  /// The run has work to do: open the model, and see that it is the same.
  case begin
  case walk(CrewWalk)
  /// Read these weight files, and say what the hashes of their contents are.
  case hash(files: [String])
  /// The run is over.
  case end

  var bytes: [UInt8] {
    get throws {
      switch self {
      case .begin: Array(#"{"do": "begin"}"#.utf8)
      case .end: Array(#"{"do": "end"}"#.utf8)
      case .hash(let files):
        Array(JSON.object([("do", .text("hash")), ("files", .array(files.map(JSON.text)))]).serialized().utf8)
      case .walk(let walk): try walk.bytes
      }
    }
  }

  /// - Throws: `ModelError` for what is no command.
  init(_ bytes: [UInt8]) throws {
    let header = bytes.prefix { $0 != 0x0A }
    let json = try JSON(parsing: Array(header))
    switch json["do"]?.string {
    case "begin": self = .begin
    case "end": self = .end
    case "hash": self = .hash(files: (json["files"]?.array ?? []).compactMap(\.string))
    case "walk": self = .walk(try CrewWalk(json, bytes[(bytes.startIndex + header.count)...].dropFirst()))
    default: throw ModelError("rank 0 asks for something that this version does not know")
    }
  }
}

/// A walk as another process is asked to take part in it.
struct CrewWalk {
  let batches: [TokenBatch]
  let subjects: [Selection]
  /// Nil for nothing.
  let visitor: JSON?
  let wantsFinal: Bool

  init(batches: [TokenBatch], subjects: [Selection], visitor: JSON?, wantsFinal: Bool) {
    (self.batches, self.subjects, self.visitor, self.wantsFinal) = (batches, subjects, visitor, wantsFinal)
  }

  /// A line of JSON, then the batches.
  var bytes: [UInt8] {
    get throws {
      let header = JSON.object([
        ("do", .text("walk")), ("subjects", .array(subjects.map(Self.json))), ("visitor", visitor ?? .null),
        ("final", .bool(wantsFinal)),
      ])
      return Array(header.serialized().utf8) + [0x0A] + (try TokenBatch.encoded(batches))
    }
  }

  init(_ json: JSON, _ bytes: some Collection<UInt8>) throws {
    subjects = try (json["subjects"]?.array ?? []).map(Self.selection)
    visitor = json["visitor"].flatMap { $0.isNull ? nil : $0 }
    wantsFinal = json["final"]?.bool ?? false
    batches = try TokenBatch.decoded(bytes)
  }

  private static func json(_ selection: Selection) -> JSON {
    func list(_ numbers: [Int]?) -> JSON { numbers.map { .array($0.map(JSON.int)) } ?? .null }
    let cuts = selection.cuts.compactMap { dimension, lists -> (String, JSON)? in
      guard let name = dimension.hyperparameter?.rawValue else { return nil }
      switch lists {
      case .everywhere(let numbers): return (name, .object([("everywhere", list(numbers))]))
      case .byLayer(let layers): return (name, .object([("layers", .array(layers.map(list)))]))
      case .byExpert(let layers):
        return (
          name, .object([("experts", .array(layers.map { experts in experts.map { .array($0.map(list)) } ?? .null }))])
        )
      }
    }
    return .object([("layers", list(selection.layers)), ("cuts", .object(cuts.sorted { $0.0 < $1.0 }))])
  }

  private static func selection(_ json: JSON) throws -> Selection {
    let damaged = ModelError("what rank 0 asks for is no selection of a model's parts")
    func numbers(_ json: JSON) throws -> [Int]? {
      if json.isNull { return nil }
      guard let list = json.array else { throw damaged }
      return try list.map { number in
        guard let number = number.int else { throw damaged }
        return number
      }
    }
    guard let layers = try json["layers"].flatMap(numbers), let entries = json["cuts"]?.object else { throw damaged }
    var cuts: [Dimension: ScopedLists<Int>] = [:]
    for (name, lists) in entries {
      guard let dimension = Hyperparameter(rawValue: name.description)?.dimension else { throw damaged }
      if let everywhere = lists["everywhere"] {
        cuts[dimension] = .everywhere(try numbers(everywhere) ?? [])
      } else if let layers = lists["layers"]?.array {
        cuts[dimension] = .byLayer(try layers.map(numbers))
      } else if let layers = lists["experts"]?.array {
        cuts[dimension] = .byExpert(
          try layers.map { layer in try layer.array.map { try $0.map { try numbers($0) ?? [] } } })
      } else {
        throw damaged
      }
    }
    return Selection(layers: layers, cuts: cuts)
  }
}
