import Crypto
import Files
import Messages

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The file by which the ranks of one machine find rank 0: its port, beside who wrote it. In a directory of the user's own
/// below the temporary one, under a name made of the launcher's for the job, so that jobs do not meet.
struct LocalMeeting {
  let path: String
  private let directory: String

  init(name: String, environment: Environment = .process) {
    directory = join(environment.temporaryDirectory, "coppice-\(getuid())")
    let digest = hexadecimal(SHA256.hash(data: Array(name.utf8)).prefix(12))
    path = join(directory, "ranks-\(digest)")
  }

  /// Tells the others the port, until the end of the process or `close`.
  ///
  /// - Throws: `FileError`, `RankError`.
  func publish(port: UInt16) throws {
    if mkdir(directory, 0o700) != 0, errno != EEXIST { throw systemError("create the directory", directory) }
    try checkOwner()
    let own = ProcessIdentity.own
    let text = "\(port) \(own.process) \(own.started)\n"
    let temporary = "\(path).\(own.process)"
    unlink(temporary)
    let file = try Unfinished.create(temporary, .file) { try OpenFile.creating(temporary, mode: 0o600) }
    try Array(text.utf8).withUnsafeBytes { try file.write($0) }
    // An earlier one is of a job that was killed: its process is no more, or it is this one's.
    try Unfinished.create(path, .file) {
      guard rename(temporary, path) == 0 else { throw systemError("create", path) }
    }
    Unfinished.finish(temporary) {}
  }

  /// Everybody has come.
  func close() {
    Unfinished.remove(path)
    // Where no other job uses it.
    rmdir(directory)
  }

  /// The port of rank 0; nil when its file is not there yet, or is that of a process that is no more.
  ///
  /// - Throws: `RankError` when the directory belongs to somebody else.
  func port() throws -> UInt16? {
    guard kind(of: directory) != .absent else { return nil }
    try checkOwner()
    guard let bytes = try? WholeFile.read(path, limit: 256) else { return nil }
    let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isWhitespace)
    guard words.count == 3, let port = UInt16(words[0]), let process = Int32(words[1]),
      ProcessIdentity(process: process)?.started == String(words[2])
    else { return nil }
    return port
  }

  private func checkOwner() throws {
    var status = stat()
    guard lstat(directory, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFDIR, status.st_uid == getuid() else {
      throw RankError(
        .rendezvous,
        """
        \(directory), where the ranks of this machine meet, is not a directory of yours: remove it, or set TMPDIR to a \
        directory of your own, or MASTER_ADDR and MASTER_PORT for all ranks
        """)
    }
  }
}
