public import Files

/// A user's token of the hub. It is never printed: descriptions and dumps show that there is one, not which.
public struct HubToken: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
  let value: String

  /// - Throws: `HubError` for a text that cannot be a token; the text is not in it.
  public init(_ text: String) throws {
    let text = text.trimmed
    guard !text.isEmpty, text.utf8.count <= 4096, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw HubError(
        .usage,
        text.isEmpty
          ? "the token is empty"
          : "the token has characters that no token of the hub has (blanks, line ends, other than ASCII); copy it again"
      )
    }
    value = text
  }

  public var description: String { "(a token)" }
  public var customMirror: Mirror { Mirror(self, children: []) }

  /// The text without the token in it, should a server send it back.
  package func removed(from text: String) -> String { text.replacing(value, with: "…") }
}

/// How connections are made.
struct TransferSettings: Sendable {
  /// Seconds.
  var connectTimeout = 10
  var stallTimeout = 10
  var authoritiesFile: String?
  var authoritiesFolder: String?
  /// The variable that names them.
  var authoritiesVariable = "SSL_CERT_FILE"
  /// For plain http, where only the upper-case variable is set: libcurl reads the lower-case one alone, since web servers
  /// fill `HTTP_PROXY` from requests, which is no danger to a program that is no web server.
  fileprivate var upperCaseProxy: String?

  func proxy(for url: String) -> String? { url.lowercased().hasPrefix("http:") ? upperCaseProxy : nil }
}

/// Which server, whose token and which cache: what `huggingface_hub` reads of the environment, read likewise.
///
/// Source: `constants.py` and `utils/_auth.py` of huggingface_hub 2.4.
public struct HubSettings: Sendable {
  /// Without a slash at its end.
  public let endpoint: String
  /// Where repositories are kept; nil without a home.
  public let cacheDirectory: String?
  /// The file that holds the saved token; nil without a home.
  public let tokenFile: String?
  /// Whether nothing may be asked of any server.
  public let isOffline: Bool
  /// The variable that says so.
  let offlineVariable: String?
  let transfer: TransferSettings
  private let environment: Environment

  public init(_ environment: Environment = .process) {
    self.environment = environment
    var endpoint = environment["HF_ENDPOINT"] ?? "https://huggingface.co"
    while endpoint.hasSuffix("/") { endpoint.removeLast() }
    self.endpoint = endpoint
    let cache =
      environment["XDG_CACHE_HOME"].map { environment.expanded($0) } ?? environment.home.map { join($0, ".cache") }
    let home = environment["HF_HOME"].map { environment.expanded($0) } ?? cache.map { join($0, "huggingface") }
    cacheDirectory =
      (environment["HF_HUB_CACHE"] ?? environment["HUGGINGFACE_HUB_CACHE"]).map { environment.expanded($0) }
      ?? home.map { join($0, "hub") }
    tokenFile = environment["HF_TOKEN_PATH"].map { environment.expanded($0) } ?? home.map { join($0, "token") }
    offlineVariable = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].first { Self.isTrue(environment[$0]) }
    isOffline = offlineVariable != nil
    transfer = Self.transfer(environment)
  }

  /// The token to send; nil for none.
  ///
  /// - Throws: `HubError` for one that cannot be a token, which names the variable or file; `FileError` for a file that
  ///   cannot be read.
  public func token() throws -> HubToken? {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
      guard let text = environment[name], !text.trimmed.isEmpty else { continue }
      do { return try HubToken(text) } catch let error as HubError { throw HubError(.usage, "\(name): \(error)") }
    }
    guard !Self.isTrue(environment["HF_HUB_DISABLE_IMPLICIT_TOKEN"]), let tokenFile, kind(of: tokenFile) == .file else {
      return nil
    }
    let text = String(decoding: try WholeFile.read(tokenFile, limit: 1 << 16), as: UTF8.self)
    if text.trimmed.isEmpty { return nil }
    do { return try HubToken(text) } catch let error as HubError { throw HubError(.usage, "\(tokenFile): \(error)") }
  }

  private static func isTrue(_ value: String?) -> Bool {
    value.map { ["1", "ON", "YES", "TRUE"].contains($0.uppercased()) } ?? false
  }

  private static func transfer(_ environment: Environment) -> TransferSettings {
    var settings = TransferSettings()
    func seconds(_ name: String) -> Int? { environment[name].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil } }
    settings.stallTimeout = seconds("HF_HUB_DOWNLOAD_TIMEOUT") ?? settings.stallTimeout
    settings.connectTimeout = seconds("HF_HUB_ETAG_TIMEOUT") ?? settings.connectTimeout
    for name in ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"] where settings.authoritiesFile == nil {
      guard let path = environment[name] else { continue }
      settings.authoritiesVariable = name
      switch kind(of: path) {
      case .file: settings.authoritiesFile = path
      case .directory: settings.authoritiesFolder = path
      default: break
      }
    }
    settings.authoritiesFolder = environment["SSL_CERT_DIR"] ?? settings.authoritiesFolder
    if environment["http_proxy"] == nil, environment["all_proxy"] == nil {
      settings.upperCaseProxy = environment["HTTP_PROXY"]
    }
    return settings
  }
}

extension Environment {
  /// A path with `~` at its start as the home directory.
  fileprivate func expanded(_ path: String) -> String {
    guard path == "~" || path.hasPrefix("~/"), let home else { return path }
    return home + path.dropFirst()
  }
}
