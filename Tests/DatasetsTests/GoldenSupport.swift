import Datasets
import Foundation
import JSON

/// A golden file, by its name in Tests/Goldens/datasets; the program beside that folder made it. Tests/Oracle puts others in
/// its place.
func golden(_ name: String) throws -> [JSON] {
  if let folder = ProcessInfo.processInfo.environment["COPPICE_DATASETS_GOLDENS"] {
    return try JSON(parsing: Array(Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name).json")))).array ?? []
  }
  let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Goldens/datasets/\(name).json")
  return try JSON(parsing: Array(Data(contentsOf: url))).array ?? []
}

/// Encodes bytes, and writes conversations as the JSON of their messages and tools.
struct SpyEncoding: TextEncoding {
  var eosTokenID: Int? { 256 }
  func encode(_ text: String) throws -> [Int] { text.utf8.map { Int($0) } }
  func render(_ conversation: Conversation) throws -> String {
    JSON.array([conversation.messages, conversation.tools ?? .null]).serialized()
  }
}

/// A place that is not this machine's: counts what is asked of it.
final class RecordedPlace: DatasetPlace, @unchecked Sendable {
  let name: String
  let identity: String?
  let files: [DatasetFile]
  private let root: String
  private let lock = NSLock()
  private var asked: [String] = []
  private let other: (any DatasetPlace)?

  init(_ root: String, name: String = "owner/name", commit: String = "c0ffee", converted: (any DatasetPlace)? = nil)
    throws
  {
    (self.name, self.root, identity, other) = (name, root, "\(name)@\(commit)", converted)
    // Whatever the order, and with checksums of its own.
    files = try LocalPlace(directory: root).listing().reversed().map {
      DatasetFile(path: $0.path, size: $0.size, checksum: "sum of \($0.path)")
    }
  }

  var fetched: [String] { lock.withLock { asked } }

  func listing() throws -> [DatasetFile] { files }
  func file(_ path: String) throws -> String {
    lock.withLock { asked.append(path) }
    return root + "/" + path
  }
  func card() throws -> [UInt8]? { try LocalPlace(directory: root).card() }
  func converted() throws -> (any DatasetPlace)? { other }
}

/// A hub of some places.
struct RecordedPlaces: DatasetPlaces {
  let places: [String: RecordedPlace]

  func place(repository: String, revision: String?) throws -> any DatasetPlace {
    guard let place = places[repository] else { throw DatasetError(.missing, "there is no repository \(repository)") }
    return place
  }
}

/// Seconds that this thread has computed, however busy the machine is.
func processorTime() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
