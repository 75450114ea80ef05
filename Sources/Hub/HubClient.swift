import CHub
import Files
import Formatting
import JSON
import Messages
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Told what happens while things are fetched.
public protocol HubObserver: Sendable {
  /// Fetching begins: bytes in all, and how many files.
  func begins(bytes: Int, files: Int)
  /// So many more bytes are there; fewer than zero where some have to be fetched again.
  func advanced(by bytes: Int)
  /// All of them are.
  func finished()
  /// Something that the user wants to know while it takes longer than expected: waiting, trying again.
  func note(_ text: String)
}

/// Asks a server of the hub: redirects, tokens, patience, and what its refusals mean.
final class HubClient: Sendable {
  /// A server that redirects more often leads nowhere.
  static let mostRedirects = 8
  /// Tries of a request in a row that brings nothing.
  static let mostTries = 5
  /// Seconds that a server may make us wait; what takes longer is the user's to decide.
  static let longestWait = 300

  let settings: HubSettings
  let observer: (any HubObserver)?
  let token: HubToken?
  let origin: Origin
  private let idle = Mutex<[Connection]>([])
  /// What was said when, since eight threads have the same to say at once.
  private let said = Mutex<[String: ContinuousClock.Instant]>([:])

  /// - Parameter token: what to send in the place of the user's own.
  /// - Throws: `HubError` for an endpoint that is no address, and for a token that can be none.
  init(_ settings: HubSettings, observer: (any HubObserver)?, token: HubToken? = nil) throws {
    guard let origin = Origin(settings.endpoint) else {
      throw HubError(.usage, "HF_ENDPOINT is no address: \(settings.endpoint); it begins with https://")
    }
    self.settings = settings
    self.observer = observer
    self.origin = origin
    self.token = try token ?? settings.token()
  }

  /// What came of a request, redirects followed.
  struct Answer {
    let head: HTTPHead
    /// The head of the hub's own answer, which knows more of a file than the server that has it.
    let first: HTTPHead
    /// Of a refusal, as far as it was read.
    let refusal: [UInt8]
    /// Who gave it.
    var server: String?

    var isSuccess: Bool { (200..<300).contains(head.status) }
  }

  /// One try: asks, follows redirects, and hands on the body of a successful answer.
  ///
  /// The token goes to the hub alone. Nothing is fetched without protection after it was asked for with it.
  ///
  /// - Throws: `TransferFailure`, what `body` throws, and `HubError` for redirects that may not be followed.
  func perform(
    _ request: HTTPRequest, body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
  ) throws -> Answer {
    var (asked, first) = (request, HTTPHead?.none)
    for _ in 0...Self.mostRedirects {
      var refusal: [UInt8] = []
      let head = try ask(asked) { head, bytes in
        if (200..<300).contains(head.status) { return try body(head, bytes) }
        refusal.append(contentsOf: bytes.prefix(max(0, 4096 - refusal.count)))
      }
      guard head.isRedirect else {
        return Answer(head: head, first: first ?? head, refusal: refusal, server: asked.url)
      }
      first = first ?? head
      asked.url = try next(after: asked.url, head)
    }
    throw HubError(.malformed, "\(shown(request.url)) is redirected more than \(Self.mostRedirects) times: a loop")
  }

  /// One request over a connection that is free.
  private func ask(
    _ request: HTTPRequest, body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
  ) throws -> HTTPHead {
    let connection = try idle.withLock { $0.popLast() } ?? Connection(settings.transfer)
    defer { idle.withLock { $0.append(connection) } }
    var request = request
    request.headers.append("User-Agent: coppice")
    if let token, Origin(request.url) == origin { request.headers.append("Authorization: Bearer \(token.value)") }
    return try connection.perform(request, body: body)
  }

  private func next(after url: String, _ head: HTTPHead) throws -> String {
    guard let next = head.redirect else {
      throw HubError(.malformed, "\(shown(url)) answers \(head.status), a redirect, without saying where to")
    }
    guard let from = Origin(url), let to = Origin(next) else {
      throw HubError(.malformed, "\(shown(url)) redirects to \(shown(next)), which is no address of http or https")
    }
    guard from.scheme == to.scheme || to.scheme == "https" else {
      throw HubError(.malformed, "\(shown(url)) redirects to \(shown(next)), which is not protected (https)")
    }
    guard !to.isLinkLocal || to == from else {
      throw HubError(.malformed, "\(shown(url)) redirects to \(shown(next)), an address inside of this network")
    }
    return next
  }

  /// Asks whether a file may be had: the hub's own answer, without going on to the server that has the file.
  ///
  /// - Throws: `HubError` for a refusal.
  func checkAccess(_ url: String, explain: (Answer) -> HubError) throws {
    // What stands in the way of asking shows when the file is fetched.
    guard let head = try? ask(HTTPRequest(url: url, isHead: true), body: { _, _ in }), !Self.isPassing(head.status)
    else { return }
    guard head.isRedirect || (200..<300).contains(head.status) else {
      throw explain(Answer(head: head, first: head, refusal: []))
    }
  }

  // MARK: Small answers

  /// The body of an address of the API, asked for until patience ends.
  ///
  /// - Parameter explain: makes an error of a refusal.
  /// - Throws: `HubError`.
  func read(_ url: String, limit: Int, explain: (Answer) -> HubError) throws -> (bytes: [UInt8], head: HTTPHead) {
    var tries = 0
    while true {
      tries += 1
      var bytes: [UInt8] = []
      do {
        let answer = try perform(HTTPRequest(url: url, headers: ["Accept: application/json"])) { _, more in
          guard bytes.count + more.count <= limit else {
            throw HubError(.malformed, "\(shown(url)) answers with more than \(Format.bytes(limit))")
          }
          bytes.append(contentsOf: more)
        }
        if answer.isSuccess { return (bytes, answer.head) }
        guard Self.isPassing(answer.head.status), tries < Self.mostTries else { throw explain(answer) }
        try pause(tries, answer.head, "\(originText) answers \(answer.head.status)")
      } catch let failure as TransferFailure {
        guard failure.isPassing, tries < Self.mostTries else { throw unreachable(failure, tries: tries) }
        try pause(tries, nil, failure.reason)
      }
    }
  }

  /// The same as JSON.
  func json(_ url: String, limit: Int, explain: (Answer) -> HubError) throws -> (value: JSON, head: HTTPHead) {
    let (bytes, head) = try read(url, limit: limit, explain: explain)
    do { return (try JSON(parsing: bytes), head) } catch {
      throw HubError(.malformed, "\(shown(url)) answers with something that is no JSON (\(error)): is this a hub?")
    }
  }

  // MARK: Patience

  static func isPassing(_ status: Int) -> Bool { [408, 429, 500, 502, 503, 504].contains(status) }

  /// Waits before the next try: as long as the server says, else longer from try to try.
  ///
  /// - Throws: `HubError` where the server wants more time than a program should sit there.
  func pause(_ tries: Int, _ head: HTTPHead?, _ reason: String) throws {
    let asked = head.flatMap(Self.waitAsked)
    if let asked, asked > Self.longestWait {
      throw HubError(
        .unreachable,
        """
        \(originText) takes no more requests for \(asked) seconds\(token == nil ? " (those with a token get more)" : ""): \
        run the same command again then, what was fetched is kept
        """)
    }
    let seconds = asked.map(Double.init) ?? min(0.5 * Double(1 << min(tries - 1, 10)), 8)
    if seconds >= 1 {
      note("\(reason); trying again in \(Int(seconds.rounded())) s")
    }
    usleep(UInt32(seconds * 1_000_000))
  }

  /// Tells the user, once in ten seconds.
  func note(_ text: String) {
    let isNew = said.withLock { said in
      let now = ContinuousClock.now
      if let last = said[text], now - last < .seconds(10) { return false }
      said[text] = now
      return true
    }
    if isNew { observer?.note(text) }
  }

  /// Seconds that an answer asks to wait: `Retry-After: 12`, or `RateLimit: "api";r=0;t=12`.
  private static func waitAsked(_ head: HTTPHead) -> Int? {
    if let seconds = head["retry-after"].flatMap({ Int($0) }), seconds >= 0 { return seconds }
    for part in head["ratelimit"]?.split(separator: ";") ?? [] where part.hasPrefix("t=") {
      if let seconds = Int(part.dropFirst(2)), seconds >= 0 { return seconds }
    }
    return nil
  }

  func unreachable(_ failure: TransferFailure, tries: Int) -> HubError {
    if failure.outcome == CH_FAILED {
      return HubError(
        .malformed, "\(originText) answers with something that is no proper HTTP (\(failure.reason)): is this a hub?")
    }
    let advice: Message =
      switch failure.outcome {
      case CH_UNTRUSTED: "name your network's certificate authority in \(settings.transfer.authoritiesVariable)"
      case CH_PROXY: "see that the proxy in https_proxy or HTTPS_PROXY is right"
      default: "see that the network is there, and HF_ENDPOINT and https_proxy if you set them"
      }
    return HubError(
      .unreachable,
      """
      \(originText) cannot be reached: \(failure.reason)\(tries > 1 ? " (tried \(tries) times)" : ""); \
      \(advice); what was fetched is kept
      """)
  }

  var originText: String { settings.endpoint }

  /// An address for messages: without what is secret in it (a signed one's query, a token), and not endless.
  func shown(_ url: String) -> String {
    let plain = String(url.prefix { $0 != "?" && $0 != "#" })
    let safe = String(String.UnicodeScalarView(plain.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }))
    let text = token?.removed(from: safe) ?? safe
    return text.count > 200 ? text.prefix(200) + "…" : text
  }
}
