import Files

/// A file of a place, as it is listed: nothing of it was read.
public struct DatasetFile: Sendable, Equatable {
  /// Below the place, parts separated by slashes.
  public let path: String
  /// Bytes.
  public let size: Int
  /// Of its contents, in whichever manner the place has one; nil where none is known.
  public let checksum: String?

  public init(path: String, size: Int, checksum: String? = nil) {
    (self.path, self.size, self.checksum) = (path, size, checksum)
  }
}

/// Somewhere that holds the files of a data set: a directory, a repository of the hub at a revision.
public protocol DatasetPlace: Sendable {
  /// What messages call it: the path of a directory, `owner/name` of a repository. A repository's own script has its last part
  /// as its name.
  var name: String { get }
  /// What tells its contents apart from all others without reading them, as a repository with the commit; nil where only the
  /// contents themselves do.
  var identity: String? { get }
  /// Every file, in no promised order.
  func listing() throws -> [DatasetFile]
  /// The path, on this machine, of the whole file; it may be fetched now.
  func file(_ path: String) throws -> String
  /// The data set's card (README.md); nil where there is none.
  func card() throws -> [UInt8]?
  /// Where the same data lies as Parquet files, `CONFIG/SPLIT/0000.parquet`; asked for only where the place itself has a
  /// script and no data.
  func converted() throws -> (any DatasetPlace)?
}

extension DatasetPlace {
  public func converted() throws -> (any DatasetPlace)? { nil }
}

/// Where repositories of the hub are to be had.
public protocol DatasetPlaces: Sendable {
  /// - Parameters:
  ///   - repository: `owner/name`, or a name alone, which the hub knows some old data sets by.
  ///   - revision: a branch, tag or commit; nil for the default branch.
  func place(repository: String, revision: String?) throws -> any DatasetPlace
}

/// A directory on this machine. Links to files are followed (the hub's cache is made of them), links to directories are not,
/// as in `datasets`.
public struct LocalPlace: DatasetPlace {
  public let name: String
  public var identity: String? { nil }

  /// More files than the largest published sets have.
  private static let maximumFiles = 1 << 22
  private static let maximumDepth = 64

  public init(directory: String) { name = directory }

  public func listing() throws -> [DatasetFile] {
    var files: [DatasetFile] = []
    var open = [(path: "", depth: 0)]
    while let directory = open.popLast() {
      for entry in try names(in: directory.path.isEmpty ? name : join(name, directory.path)) {
        let path = directory.path.isEmpty ? entry : directory.path + "/" + entry
        switch entryKind(join(name, path)) {
        case .directory:
          guard directory.depth < Self.maximumDepth else {
            throw DatasetError("\(name): directories are nested deeper than \(Self.maximumDepth) levels")
          }
          open.append((path, directory.depth + 1))
        case .file(let size): files.append(DatasetFile(path: path, size: size))
        case .other: break
        }
      }
      guard files.count <= Self.maximumFiles else {
        throw DatasetError("\(name) holds more than \(Self.maximumFiles) files; name the directory that is meant")
      }
    }
    return files
  }

  public func file(_ path: String) throws -> String { join(name, path) }

  public func card() throws -> [UInt8]? {
    let path = join(name, "README.md")
    return kind(of: path) == .file ? try WholeFile.read(path, limit: DatasetCard.maximumSize) : nil
  }
}
