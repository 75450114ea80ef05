import Crypto
public import Files

/// SHA-256 of an open file's contents, computed once.
///
/// - Throws: `DatasetError` when it cannot be read, or changes meanwhile.
func contentHash(_ path: String, _ descriptor: Int32) throws -> String {
  do { return try ContentHash.sha256(descriptor: descriptor, path: path) ?? "" } catch let error {
    throw DatasetError("\(path) \(error.reason)")
  }
}

extension CalibrationData {
  /// SHA-256, in hexadecimal, of what the text is made of, source by source: every file's name (below its source), size and
  /// the hash of its contents; of a repository its name, commit and the checksums that it lists, for which nothing is
  /// fetched.
  ///
  /// - Throws: `DatasetError` when a file cannot be read, or changes meanwhile.
  public func fingerprint() throws -> String {
    var hash = SHA256()
    for resolved in groups.joined() {
      let files = resolved.splits.flatMap(\.files)
      hash.update(data: Array("source\0\(files.count)\0".utf8))
      // Where splits, columns or options are the usual ones they add nothing, so that what was kept before there were others
      // is still known.
      if resolved.source.row != .automatic { hash.update(data: Array("row\0\(resolved.source.row)\0".utf8)) }
      if resolved.splits.count > 1 {
        let counts = resolved.splits.map { "\($0.split) \($0.files.count)" }.joined(separator: "\0")
        hash.update(data: Array("splits\0\(counts)\0".utf8))
      }
      if let identity = resolved.identity { hash.update(data: Array("repository\0\(identity)\0".utf8)) }
      for file in files {
        if file.options != ReadOptions() { hash.update(data: Array("options\0\(file.options)\0".utf8)) }
        hash.update(data: Array(try Self.line(file, resolved.source).utf8))
      }
    }
    return hexadecimal(hash.finalize())
  }

  private static func line(_ file: DataFile, _ source: DatasetSource) throws -> String {
    switch file.location {
    case .remote(_, let listed): return "\(listed.path)\0\(listed.size)\0\(listed.checksum ?? "")\n"
    case .local(let path):
      let input = try InputFile(path)
      var name = lastName(path)
      if case .directory(let directory) = source.location { name = String(path.dropFirst(directory.count)) }
      return "\(name)\0\(input.size)\0\(try contentHash(path, input.descriptor))\n"
    }
  }

  /// What the system says of every file on this machine now: equal as long as none is written to. A repository's files do not
  /// change.
  public var identities: [FileIdentity?] {
    groups.joined().flatMap(\.splits).flatMap(\.files).compactMap { file in
      if case .local(let path) = file.location { path } else { nil }
    }.map(FileIdentity.init(path:))
  }
}
