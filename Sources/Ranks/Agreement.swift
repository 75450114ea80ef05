import JSON
import Messages

/// Facts that must be the same on all ranks, compared.
package enum Agreement {
  /// Characters of a value that are shown.
  static let shown = 160

  package static func encode(_ facts: [(name: String, value: String)]) -> [UInt8] {
    Array(JSON.array(facts.map { .array([.text($0.name), .text($0.value)]) }).serialized().utf8)
  }

  package static func decode(_ bytes: [UInt8]) -> [(name: String, value: String)]? {
    guard let rows = try? JSON(parsing: bytes).array else { return nil }
    let facts = rows.compactMap { row -> (name: String, value: String)? in
      guard let pair = row.array, pair.count == 2, let name = pair[0].string, let value = pair[1].string else {
        return nil
      }
      return (name, value)
    }
    return facts.count == rows.count ? facts : nil
  }

  /// Says which ranks have what, by rank; nil where all have the same.
  package static func differences(_ facts: [[(name: String, value: String)]]) -> String? {
    var names: [String] = []
    var seen: Set<String> = []
    for name in facts.joined().map(\.name) where seen.insert(name).inserted { names.append(name) }
    let texts = names.compactMap { name -> String? in
      let values = facts.map { $0.first { $0.name == name }?.value }
      guard let first = values.first, values.contains(where: { $0 != first }) else { return nil }
      var groups: [(value: String?, ranks: [Int])] = []
      var places: [String?: Int] = [:]
      for (rank, value) in values.enumerated() {
        if let place = places[value] {
          groups[place].ranks.append(rank)
        } else {
          places[value] = groups.count
          groups.append((value, [rank]))
        }
      }
      let parts = groups.prefix(4).map { "\(shorten($0.value, beside: groups.map(\.value))) on \(named($0.ranks))" }
      return "\(name) is \(parts.joined(separator: ", "))" + (groups.count > 4 ? ", and more" : "")
    }
    guard !texts.isEmpty else { return nil }
    let more = texts.count > 6 ? "; and \(texts.count - 6) more" : ""
    return
      "the ranks differ: \(texts.prefix(6).joined(separator: "; "))\(more). Start all of them alike, then run again"
  }

  /// A long value from a little before where it differs from the others.
  private static func shorten(_ value: String?, beside others: [String?]) -> String {
    guard let value else { return "nothing" }
    let text = Array(value.unicodeScalars)
    guard text.count > shown else { return value.isEmpty ? "\"\"" : value }
    let common = others.compactMap { $0.map { Array($0.unicodeScalars) } }.reduce(text.count) { common, other in
      min(common, zip(text, other).prefix { $0 == $1 }.count)
    }
    let start = max(0, min(common - 20, text.count - shown))
    var part = String.UnicodeScalarView()
    part.append(contentsOf: text[start..<min(start + shown, text.count)])
    return (start > 0 ? "…" : "") + String(part) + (start + shown < text.count ? "…" : "")
  }
}
