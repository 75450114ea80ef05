/// What kind of thing a repository of the hub holds.
public enum RepositoryKind: String, Sendable, CaseIterable {
  case model
  case dataset

  /// As addresses of the hub's API and folders of the cache have it.
  var plural: String { rawValue + "s" }
}

/// A repository's name on the hub: `OWNER/NAME`, or `NAME` for some old ones.
public struct Repository: Sendable, Hashable, CustomStringConvertible {
  public let name: String
  public let kind: RepositoryKind

  /// - Throws: `HubError` for a text that is no name.
  public init(_ name: String, _ kind: RepositoryKind = .model) throws {
    guard Self.isName(name) else {
      throw HubError(
        .usage,
        """
        \(name.debugDescription) is no name of the hub: OWNER/NAME is wanted, of letters, digits, "-", "_" and ".", at \
        most 96 in all, without "--" and ".."
        """)
    }
    (self.name, self.kind) = (name, kind)
  }

  /// Source: `validate_repo_id` of huggingface_hub.
  public static func isName(_ text: String) -> Bool {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), text.utf8.count <= 96, !text.hasSuffix(".git"), !text.contains("--"),
      !text.contains("..")
    else { return false }
    return parts.allSatisfy { part in
      guard let first = part.utf8.first, let last = part.utf8.last else { return false }
      let isPlain: (UInt8) -> Bool = { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
          return true
        default: return false
        }
      }
      return isPlain(first) && isPlain(last)
        && part.utf8.allSatisfy { isPlain($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
    }
  }

  public var description: String { name }

  /// Its folder in the cache, and that of its locks.
  package var folder: String { "\(kind.plural)--" + name.replacing("/", with: "--") }

  /// Nil for a folder of something else.
  package init?(folder: String) {
    guard let kind = RepositoryKind.allCases.first(where: { folder.hasPrefix($0.plural + "--") }) else { return nil }
    let name = folder.dropFirst(kind.plural.count + 2).replacing("--", with: "/", maxReplacements: 1)
    guard Self.isName(String(name)) else { return nil }
    (self.name, self.kind) = (String(name), kind)
  }

  /// The start of its addresses, after the endpoint.
  var path: String { (kind == .model ? "" : kind.plural + "/") + name }
}

/// A branch, tag or commit: what a user asks for.
public struct Revision: Sendable, Hashable, CustomStringConvertible {
  public static let main = Revision(unchecked: "main")

  public let name: String

  private init(unchecked name: String) { self.name = name }

  /// - Throws: `HubError` for a text that is none.
  public init(_ name: String) throws {
    guard !name.isEmpty, name.utf8.count <= 255, isSafePath(name) else {
      throw HubError(
        .usage, "\(name.debugDescription) is no revision: the name of a branch or tag, or a commit, is wanted")
    }
    self.name = name
  }

  public var description: String { name }
  /// Whether it names a commit, which never changes.
  public var isCommit: Bool { isHexadecimal(name, digits: 40) }
}

/// Whether a text is so many lower-case hexadecimal digits.
func isHexadecimal(_ text: String, digits: Int) -> Bool {
  text.utf8.count == digits && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
}

/// Whether a path of a repository can be the path of a file below a folder: relative, of names that are what they seem.
package func isSafePath(_ path: String) -> Bool {
  guard path.utf8.count <= 1024, path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F && $0 != UInt8(ascii: "\\") }) else {
    return false
  }
  return path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
    !part.isEmpty && part != "." && part != ".." && part.utf8.count <= 255
  }
}

/// A path as it stands in an address: all but unreserved characters and slashes as `%XX`.
package func escaped(_ path: String, keepsSlashes: Bool = true) -> String {
  var text = ""
  for byte in path.utf8 {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
      UInt8(ascii: "~"):
      text.unicodeScalars.append(Unicode.Scalar(byte))
    case UInt8(ascii: "/") where keepsSlashes: text += "/"
    default: text += "%" + String(byte >> 4, radix: 16, uppercase: true) + String(byte & 15, radix: 16, uppercase: true)
    }
  }
  return text
}

/// Who is asked: scheme, host and port of an address. Tokens are sent to one origin alone.
package struct Origin: Equatable {
  package let scheme: String
  /// In lower case.
  package let host: String
  package let port: String

  /// Nil for what is no address of http or https.
  package init?(_ url: String) {
    guard let colon = url.firstRange(of: "://") else { return nil }
    scheme = url[..<colon.lowerBound].lowercased()
    guard scheme == "http" || scheme == "https" else { return nil }
    var authority = url[colon.upperBound...].prefix { !"/?#\\".contains($0) }
    if let at = authority.lastIndex(of: "@") { authority = authority[authority.index(after: at)...] }
    // The colons within brackets are an address's own.
    let hostEnd = authority.lastIndex(of: "]").map { authority.index(after: $0) } ?? authority.startIndex
    let portColon = authority[hostEnd...].firstIndex(of: ":")
    host = authority[..<(portColon ?? authority.endIndex)].lowercased()
    let given = portColon.map { String(authority[authority.index(after: $0)...]) } ?? ""
    port = given.isEmpty ? (scheme == "https" ? "443" : "80") : given
    guard !host.isEmpty else { return nil }
  }

  /// Addresses of this network segment, where clouds keep credentials: nothing of a hub is there.
  package var isLinkLocal: Bool { host.hasPrefix("169.254.") || host.hasPrefix("[fe80:") }
}
