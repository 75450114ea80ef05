public import Foundation
import JSON

/// Writes every event as a line of JSON, for programs that follow a run: `{"event": "note", "kind": "layerRanking",
/// "message": "…"}`.
public final class JSONLines: RunListener {
  private let file: FileHandle

  /// - Parameter file: open for writing.
  public init(_ file: FileHandle) { self.file = file }

  public func receive(_ event: RunEvent) throws {
    try file.write(contentsOf: Data((JSON.object(Self.entries(of: event)).serialized() + "\n").utf8))
  }

  private static func entries(of event: RunEvent) -> [(String, JSON)] {
    func step(_ name: String, _ step: RunStep) -> [(String, JSON)] {
      [("event", .text(name)), ("step", .int(step.id)), ("label", .text(step.label))]
    }
    switch event {
    case .described(let family): return [("event", .text("described")), ("family", .text(family))]
    case .note(let note):
      return [("event", .text("note")), ("kind", kind(of: note)), ("message", .text("\(note.message)"))]
    case .warning(let warning):
      return [("event", .text("warning")), ("kind", kind(of: warning)), ("message", .text("\(warning.message)"))]
    case .began(let begun):
      return step("began", begun) + [("total", begun.total.map(JSON.int) ?? .null), ("unit", .text(begun.unit))]
    case .advanced(let advanced, let done): return step("advanced", advanced) + [("done", .int(done))]
    case .finished(let finished, let deed): return step("finished", finished) + [("deed", deed.map(JSON.text) ?? .null)]
    case .dropped(let dropped): return step("dropped", dropped)
    case .searched(let search): return [("event", .text("searched")), ("search", .object(search.json))]
    case .scored(let config, let score):
      return [
        ("event", .text("scored")), ("export_config", config.json), ("score", .double(score.mean)),
        ("score_stderr", .double(score.standardError)), ("score_items", .int(score.items)),
      ]
    case .chosen(let search): return [("event", .text("chosen")), ("search", .object(search.json))]
    }
  }

  /// The name of an enumeration's case.
  private static func kind(of value: Any) -> JSON {
    .text(Mirror(reflecting: value).children.first?.label ?? "\(value)")
  }
}
