import Files
public import JSON

/// The metadata at the head of a model card (the YAML between two lines of `---` in `README.md`), as far as it consists
/// of plain values and lists of them, which is how the hub writes what is read here. The rest is passed over.
public struct CardMetadata: Sendable {
  private var values: [String: [String]] = [:]

  /// Nothing may be longer than what the hub takes for metadata.
  private static let limit = 1 << 16

  public init(parsing card: String) {
    var lines = card.prefix(Self.limit).split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)[...]
    // A byte order mark may stand before the first line.
    guard let first = lines.popFirst(), first.drop(while: { $0 == "\u{FEFF}" }).trimmed == "---" else { return }
    var found: [String: [String]] = [:]
    while let line = lines.popFirst() {
      if line.trimmed == "---" || line.trimmed == "..." {
        values = found
        return
      }
      guard let colon = line.firstIndex(of: ":"), let start = line.first, start.isLetter || start == "_" else {
        continue
      }
      let key = String(line[..<colon].trimmed)
      let rest = line[line.index(after: colon)...].trimmed
      if rest.isEmpty || rest.hasPrefix("#") {
        var items: [String?] = []
        while let item = lines.first?.trimmed, item.hasPrefix("- ") {
          items.append(Self.scalar(item.dropFirst(2).trimmed))
          lines.removeFirst()
        }
        found[key] = items.compactMap { $0 }
      } else if rest.hasPrefix("["), rest.hasSuffix("]") {
        found[key] = rest.dropFirst().dropLast().split(separator: ",").compactMap { Self.scalar($0.trimmed) }
      } else if let value = Self.scalar(rest) {
        found[key] = [value]
      }
    }
    // Never closed: no metadata.
  }

  /// The card of a checkpoint; nothing where there is none or it cannot be read.
  public init(directory: String) {
    let bytes = (try? WholeFile.read(join(directory, "README.md"), limit: 16 << 20)) ?? []
    self.init(parsing: String(decoding: bytes, as: UTF8.self))
  }

  /// The values under a key: one for a plain value, several for a list, none when it is absent or something else.
  public subscript(key: String) -> [String] { values[key] ?? [] }

  private static func scalar(_ text: Substring) -> String? {
    guard let first = text.first, text.count <= 1000 else { return nil }
    if first == "\"" {
      return (try? JSON(parsing: String(text)))?.string
    }
    if first == "'" {
      guard text.count > 1, text.hasSuffix("'") else { return nil }
      return text.dropFirst().dropLast().replacing("''", with: "'").description
    }
    // Mappings, blocks, anchors and tags.
    if "{[|>&*!%@`?".contains(first) || text.contains(": ") || text.hasSuffix(":") { return nil }
    let plain = (text.firstRange(of: " #").map { text[..<$0.lowerBound] } ?? text).trimmed
    return plain.isEmpty || ["null", "~"].contains(plain) ? nil : String(plain)
  }
}

/// What a checkpoint is called, for those who read of it elsewhere: no path of this machine.
public struct SourceName: Sendable, Equatable {
  /// `owner/name` where it comes from the hub's cache (`models--owner--name`), else the last part of its path.
  public let name: String
  /// `name` is one of the hub's.
  public let isHubID: Bool
  /// A name of the hub: its own, else that of the model it was made from (`_name_or_path` of the config, `base_model` of
  /// the card); nil where none is known.
  public let baseModel: String?

  public init(directory: String, config: JSON.Object, metadata: CardMetadata) {
    let real = resolvedPath(directory)
    let own = [directory, real].lazy.compactMap(Self.cached).first
    let stated = config["_name_or_path"]?.string
    let ancestors = [stated].compactMap { $0 } + (metadata["base_model"].count == 1 ? metadata["base_model"] : [])
    name = own ?? real.split(separator: "/").last.map(String.init) ?? "model"
    isHubID = own != nil
    baseModel = own ?? stated.flatMap(Self.cached) ?? ancestors.first(where: Self.isHubID)
  }

  private static func cached(_ path: String) -> String? {
    let prefix = "models--"
    guard let part = path.split(separator: "/").last(where: { $0.hasPrefix(prefix) }) else { return nil }
    let id = part.dropFirst(prefix.count).replacing("--", with: "/", maxReplacements: 1)
    return id.isEmpty || id.hasPrefix("/") ? nil : String(id)
  }

  private static func isHubID(_ text: String) -> Bool {
    text.wholeMatch(of: /[A-Za-z0-9][A-Za-z0-9_.\-]*\/[A-Za-z0-9][A-Za-z0-9_.\-]*/) != nil
      && !text.contains("/checkpoint-") && text.utf8.count <= 96
  }
}

extension StringProtocol where SubSequence == Substring {
  fileprivate var trimmed: Substring {
    var text = self[...]
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}
