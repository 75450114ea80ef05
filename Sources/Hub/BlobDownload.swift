import CHub
import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Fetches one file of a repository into the cache.
///
/// What has arrived is kept in a partial file and gone on with by range, in this process or a later one; nothing counts
/// before its size and checksum are those of the hub's list.
struct BlobDownload {
  let client: HubClient
  let cache: HubCache
  let repository: Repository
  let commit: String
  let file: RepositoryFile
  /// Bytes that have become known to be here; fewer than zero where some are fetched again.
  let advance: (Int) -> Void
  /// Whether the file is still wanted: not once another one has failed. What has arrived is kept.
  let isWanted: () -> Bool

  /// - Returns: the bytes that came over the network.
  /// - Throws: `HubError`, `FileError`.
  func run() throws -> Int {
    let blob = cache.blob(repository, file.etag)
    let lock = try wait()
    defer { withExtendedLifetime(lock) {} }
    // Another process may have fetched it meanwhile.
    if cache.hasBlob(repository, file) { return try finish(0, from: 0) }
    // What is no whole file: cut short by a copy or a full disk, or a link whose file is gone.
    unlink(blob)
    if cache.linkShared(repository, file) { return try finish(0, from: 0) }
    let partial = try PartialBlob(cache.partial(repository, file.etag), file)
    advance(partial.count)
    let fetched = try fetch(into: partial)
    try partial.publish(at: blob)
    return try finish(fetched, from: file.size)
  }

  /// - Parameter counted: bytes that `advance` has heard of.
  private func finish(_ fetched: Int, from counted: Int) throws -> Int {
    try cache.link(repository, commit, file)
    advance(file.size - counted)
    return fetched
  }

  /// The lock under which clients of the cache write a blob.
  private func wait() throws -> OpenFile {
    let path = join(cache.root, ".locks/\(repository.folder)/\(file.etag).lock")
    let lock = try OpenFile.updating(path)
    // Other users of a shared cache want to lock it, too.
    fchmod(lock.descriptor, 0o664)
    var waited = 0
    while flock(lock.descriptor, LOCK_EX | LOCK_NB) != 0 {
      // File systems without locks cost at worst a second download: blobs are put in place whole.
      guard errno == EWOULDBLOCK || errno == EINTR else { return lock }
      guard isWanted() else { throw Unwanted() }
      if waited == 10 { client.note("waiting for another process that downloads \(file.path)") }
      waited += 1
      usleep(100_000)
    }
    return lock
  }

  private struct Unwanted: Error {}

  // MARK: Trying

  private func fetch(into partial: PartialBlob) throws -> Int {
    var (fetched, tries, startedAnew, breaks) = (0, 0, false, 0)
    while true {
      let before = partial.count
      var failure: (reason: String, head: HTTPHead?, error: HubError)?
      if before < file.size || file.size == 0 {
        failure = try attempt(into: partial, &fetched)
        tries = partial.count > before ? 0 : tries + 1
      }
      if let failure {
        guard tries < HubClient.mostTries else { throw failure.error }
        // A connection that brought something is worth another at once.
        breaks += 1
        if breaks % 20 == 0 {
          client.note("the connection breaks off again and again (\(breaks) times so far); going on with \(file.path)")
        }
        if tries == 0 { usleep(100_000) } else { try client.pause(tries, failure.head, failure.reason) }
        continue
      }
      guard partial.count >= file.size else { continue }
      if try partial.isRight() { return fetched }
      let had = partial.count
      try partial.restart()
      advance(-had)
      guard !startedAnew else { throw wrongContents }
      startedAnew = true
      client.note("\(file.path) arrived with other contents than the hub lists; fetching it once more")
    }
  }

  private var wrongContents: HubError {
    HubError(
      .malformed,
      """
      \(file.path) of \(repository) arrived twice with other contents than the hub lists (\
      \(file.sha256 == nil ? "git SHA-1" : "SHA-256") \(file.checksum)): something between here and the hub changes it; \
      nothing of it was kept
      """)
  }

  /// One request; nil where it went as it should.
  ///
  /// - Throws: what no further try can mend.
  private func attempt(
    into partial: PartialBlob, _ fetched: inout Int
  ) throws -> (reason: String, head: HTTPHead?, error: HubError)? {
    var request = HTTPRequest(url: file.address(in: repository, commit, endpoint: client.settings.endpoint))
    let from = partial.count
    if from > 0 { request.headers.append("Range: bytes=\(from)-") }
    var (isChecked, received) = (false, 0)
    defer { fetched += received }
    do {
      let answer = try client.perform(request) { head, bytes in
        if !isChecked {
          isChecked = true
          try check(head, from: from, partial)
        }
        received += bytes.count
        guard isWanted() else { throw Unwanted() }
        guard partial.count + bytes.count <= file.size else { throw lies("sends more than") }
        try partial.append(bytes)
        advance(bytes.count)
      }
      try checkFirst(answer.first)
      guard !answer.isSuccess else {
        if partial.count == file.size { return nil }
        return ("the answer ended early", answer.head, lies("sends fewer than"))
      }
      let error = refused(answer)
      // A signed address that has expired: the hub makes another.
      let isExpired = answer.head.status == 403 && answer.first.isRedirect
      // What is there is longer than the server's file, or a server that knows no ranges.
      if answer.head.status == 416, from > 0 {
        try partial.restart()
        advance(-from)
        return ("the range was refused", answer.head, error)
      }
      guard HubClient.isPassing(answer.head.status) || isExpired else { throw error }
      return ("the server answers \(answer.head.status)", answer.head, error)
    } catch let failure as TransferFailure {
      guard failure.isPassing else { throw client.unreachable(failure, tries: 1) }
      return (failure.reason, nil, client.unreachable(failure, tries: HubClient.mostTries))
    }
  }

  private func refused(_ answer: HubClient.Answer) -> HubError {
    // What another server says of a file is not what the hub says of the repository.
    if answer.first.isRedirect, file.xetHash == nil, let server = answer.server, Origin(server) != client.origin {
      return HubError(
        .unreachable,
        """
        the server that has \(file.path) of \(repository) (\(client.shown(server))) answers \(answer.head.status): run the \
        same command again later, what was fetched is kept
        """)
    }
    guard file.xetHash != nil, answer.first.isRedirect, (400..<500).contains(answer.head.status) else {
      return client.refused(answer, repository, commit, path: file.path, known: [])
    }
    return HubError(
      .unreachable,
      """
      \(file.path) of \(repository) is in Xet storage, and \(client.originText) does not serve it by plain HTTP (it \
      answers \(answer.head.status)): fetch it with huggingface_hub and hf_xet (hf download \(repository)), whose cache \
      is used here
      """)
  }

  /// Before the first byte of a body: whether it is the part that was asked for.
  private func check(_ head: HTTPHead, from: Int, _ partial: PartialBlob) throws {
    if head.status == 206 {
      // "bytes 100-199/200"
      let parts = head["content-range"]?.dropFirst(6).split { "-/".contains($0) }.map { Int($0) } ?? []
      guard parts.count == 3, parts[0] == from, parts[2] == file.size else {
        // The next run asks for the whole.
        try partial.restart()
        advance(-from)
        throw HubError(
          .malformed,
          """
          \(client.originText) sends another part of \(file.path) than was asked for (\(head["content-range"] ?? "none") \
          where bytes from \(from) of \(file.size) were): nothing of it was used
          """)
      }
    } else if from > 0 {
      // The whole file in answer to a range.
      try partial.restart()
      advance(-from)
    }
    if head["content-encoding"] == nil || head["content-encoding"] == "identity",
      let length = head["content-length"].flatMap({ Int($0) }), length != file.size - partial.count
    {
      throw lies("announces \(length) bytes, not the")
    }
  }

  /// What the hub says of the file before it sends us to the server that has it.
  private func checkFirst(_ head: HTTPHead) throws {
    guard head.isRedirect else { return }
    if let size = head["x-linked-size"].flatMap({ Int($0) }), size != file.size {
      throw lies("has \(size) bytes, not the")
    }
    let etag = head["x-linked-etag"]?.replacing("W/", with: "", maxReplacements: 1).replacing("\"", with: "")
    if let etag, let sha256 = file.sha256, isHexadecimal(etag, digits: 64), etag != sha256 {
      throw HubError(.malformed, "the hub lists \(file.path) with SHA-256 \(sha256) and serves it with \(etag)")
    }
  }

  private func lies(_ what: String) -> HubError {
    HubError(
      .malformed,
      "the server \(what) \(file.size) bytes that the hub lists for \(file.path) of \(repository); nothing of it was used"
    )
  }
}
