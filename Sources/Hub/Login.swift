import Files
import Messages

/// The user's token where huggingface_hub looks for it.
public struct Login {
  private let settings: HubSettings
  private let observer: (any HubObserver)?

  public init(_ settings: HubSettings = HubSettings(), observer: (any HubObserver)? = nil) {
    (self.settings, self.observer) = (settings, observer)
  }

  /// Asks the hub whose token it is.
  ///
  /// - Returns: the user's name.
  /// - Throws: `HubError` for a token that is not accepted, and when the hub cannot be reached.
  public func user(of token: HubToken) throws -> String {
    if let variable = settings.offlineVariable {
      throw HubError(.offline, "\(variable) is set: whose token it is cannot be asked. Unset it to log in")
    }
    let client = try HubClient(settings, observer: observer, token: token)
    let url = "\(settings.endpoint)/api/whoami-v2"
    let answer = try client.json(url, limit: 1 << 20) { answer in
      answer.head.status == 401 || answer.head.status == 403
        ? HubError(
          .access,
          """
          \(settings.endpoint) does not accept this token: it may be wrong, expired or of another hub. Make one on \
          \(settings.endpoint)/settings/tokens
          """) : client.failed(answer)
    }
    guard let name = answer.value["name"]?.string else {
      throw HubError(.malformed, "\(client.shown(url)) names no user: is this a hub?")
    }
    return token.removed(from: name)
  }

  /// Saves a token for every program that uses huggingface_hub's files; only the user may read it.
  ///
  /// - Returns: the file that it is in now.
  /// - Throws: `HubError` where there is no place for it; `FileError`.
  public func save(_ token: HubToken) throws -> String {
    guard let path = settings.tokenFile else {
      throw HubError(
        .usage, "there is no place for the token: HOME is unset and the user has none; name one in HF_HOME")
    }
    try AtomicFile.makeDirectory(try split(path).parent)
    try AtomicFile.write(Array(token.value.utf8), to: path, isSecret: true)
    return path
  }
}
