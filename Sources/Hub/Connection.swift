import CHub
import Files
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// libcurl, opened when something is first asked of a server.
public enum TransferLibrary {
  /// Opens it, to find out whether it works.
  ///
  /// - Returns: what it says of itself.
  /// - Throws: `HubError` that says what was looked for and what to do.
  public static func load() throws -> String { try opened.get() }

  private static let opened: Result<String, HubError> = {
    guard let error = ch_open() else { return .success(String(cString: ch_version())) }
    defer { free(error) }
    return .failure(
      HubError(
        .library,
        """
        nothing can be fetched: \(String(cString: error)). Install libcurl 4 (on Debian and Ubuntu: apt-get install \
        libcurl4) or name the file in COPPICE_LIBCURL
        """))
  }()
}

/// What is asked of a server.
struct HTTPRequest {
  var url: String
  var isHead = false
  /// `Name: value`.
  var headers: [String] = []
}

/// How a server answers, without the body.
struct HTTPHead {
  let status: Int
  /// Names in lower case.
  fileprivate(set) var fields: [(name: String, value: String)] = []
  /// Where a redirect leads.
  fileprivate(set) var redirect: String?

  subscript(_ name: String) -> String? { fields.last { $0.name == name }?.value }

  var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) }
}

/// Why no whole answer came.
struct TransferFailure: Error {
  let outcome: ch_outcome
  let reason: String

  /// Whether the same request may well succeed a moment later.
  var isPassing: Bool { [CH_UNREACHABLE, CH_CUT, CH_STALLED].contains(outcome) }
}

/// A connection of libcurl's, kept between requests to the same server.
///
/// Not for two threads at once; whoever takes it from the client's pool has it alone, which is what makes it sendable.
final class Connection: @unchecked Sendable {
  private let handle: OpaquePointer
  private let settings: TransferSettings

  init(_ settings: TransferSettings) throws {
    _ = try TransferLibrary.load()
    guard let handle = ch_connect() else { throw HubError(.library, "out of memory for a connection") }
    self.handle = handle
    self.settings = settings
  }

  deinit { ch_close(handle) }

  /// Asks, and hands on the body piece by piece.
  ///
  /// - Throws: what `body` throws; `TransferFailure` when the answer did not come whole.
  func perform(
    _ request: HTTPRequest, body: (_ head: HTTPHead, _ bytes: UnsafeRawBufferPointer) throws -> Void
  ) throws -> HTTPHead {
    try withoutActuallyEscaping(body) { body in
      let reception = Reception(body)
      var answer = ch_answer()
      withOptionalCStrings(request.headers) { headers in
        var asked = ch_request()
        asked.is_head = request.isHead
        asked.headers = headers.baseAddress
        asked.header_count = headers.count
        asked.connect_timeout = settings.connectTimeout
        asked.stall_timeout = settings.stallTimeout
        asked.context = Unmanaged.passUnretained(reception).toOpaque()
        asked.header = { Reception.at($0)?.takeHeader(UnsafeRawBufferPointer(start: $1, count: $2)) ?? false }
        asked.body = { Reception.at($0)?.takeBody(UnsafeRawBufferPointer(start: $1, count: $2)) ?? false }
        withOptionalCStrings(
          [request.url, settings.proxy(for: request.url), settings.authoritiesFile, settings.authoritiesFolder]
        ) { texts in
          guard let url = texts[0] else { return }
          asked.url = url
          (asked.proxy, asked.authorities_file, asked.authorities_folder) = (texts[1], texts[2], texts[3])
          ch_perform(handle, &asked, &answer)
        }
      }
      defer { free(answer.redirect) }
      if let error = reception.error { throw error }
      guard answer.outcome == CH_DONE else {
        throw TransferFailure(outcome: answer.outcome, reason: text(of: answer.reason))
      }
      var head = reception.head(answer.status)
      head.redirect = answer.redirect.map { String(cString: $0) }
      return head
    }
  }
}

/// A text in an array of C, which Swift has as a tuple.
private func text<T>(of array: T) -> String {
  withUnsafeBytes(of: array) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

/// The texts as C has them, for the time of a call.
private func withOptionalCStrings<R>(
  _ texts: [String?], _ body: (UnsafeBufferPointer<UnsafePointer<CChar>?>) throws -> R
) rethrows -> R {
  let copies = texts.map { $0.flatMap { strdup($0) } }
  defer { for copy in copies { free(copy) } }
  return try copies.map { $0.map { UnsafePointer($0) } }.withUnsafeBufferPointer(body)
}

/// Takes an answer as it arrives.
private final class Reception {
  /// More is no head of a sensible server.
  static let longestHead = 1 << 18

  private let body: (HTTPHead, UnsafeRawBufferPointer) throws -> Void
  private var lines: [String] = []
  private var headBytes = 0
  private(set) var error: (any Error)?

  init(_ body: @escaping (HTTPHead, UnsafeRawBufferPointer) throws -> Void) { self.body = body }

  /// What `perform` gave to C as the context.
  static func at(_ context: UnsafeMutableRawPointer?) -> Reception? {
    context.map { Unmanaged<Reception>.fromOpaque($0).takeUnretainedValue() }
  }

  func takeHeader(_ bytes: UnsafeRawBufferPointer) -> Bool {
    headBytes += bytes.count
    guard headBytes <= Self.longestHead else {
      error = TransferFailure(outcome: CH_FAILED, reason: "the head of the answer has more than 256 KiB")
      return false
    }
    let line = String(decoding: bytes, as: UTF8.self).trimmed
    // Another head follows one with status 100, and those of proxies.
    if line.hasPrefix("HTTP/") { lines = [] }
    lines.append(line)
    return true
  }

  func takeBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let status = lines.first.flatMap { $0.split(separator: " ").dropFirst().first }.flatMap { Int($0) } ?? 0
    do {
      try body(head(status), bytes)
      return true
    } catch {
      self.error = error
      return false
    }
  }

  func head(_ status: Int) -> HTTPHead {
    var head = HTTPHead(status: status)
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: ":") else { continue }
      head.fields.append((line[..<colon].lowercased(), String(line[line.index(after: colon)...]).trimmed))
    }
    return head
  }
}

extension String {
  /// Without white space around it.
  var trimmed: String {
    let isSpace: (UInt8) -> Bool = { [0x20, 0x09, 0x0A, 0x0D].contains($0) }
    let bytes = Array(utf8)
    guard let first = bytes.firstIndex(where: { !isSpace($0) }), let last = bytes.lastIndex(where: { !isSpace($0) })
    else { return "" }
    return String(decoding: bytes[first...last], as: UTF8.self)
  }
}
