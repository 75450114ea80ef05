import Datasets
import Foundation
import JSON
import Testing

/// The registered data sets, against Model-Optimizer.
@Suite struct RegistryTests {
  @Test func packsWhatTheReferencePacks() throws {
    let cases = try golden("registry")
    let first = try #require(cases.first)
    #expect(DatasetRegistry.names == first["names"]?.array?.compactMap(\.string))
    let scratch = try Scratch()
    var places: [String: RecordedPlace] = [:]
    for tree in first["trees"]?.array ?? [] {
      let repository = try #require(tree["repository"]?.string)
      let root = repository.replacingOccurrences(of: "/", with: "--")
      for (path, text) in try #require(tree["files"]?.object) {
        try scratch.write("\(root)/\(path)", try #require(text.string))
      }
      places[repository] = try RecordedPlace(scratch.at(root), name: repository)
    }
    for entry in cases.dropFirst() {
      let names = (entry["names"]?.array ?? []).compactMap(\.string)
      let data = { try CalibrationData(sources: names, places: RecordedPlaces(places: places)) }
      if entry["error"] != nil {
        #expect(message { _ = try data() }.contains("is part of the mix"), "\(names)")
        continue
      }
      let (rows, length) = (try #require(entry["rows"]?.int), try #require(entry["length"]?.int))
      let packed = try data().pack(encoder: SpyEncoding(), seqLength: length, count: rows).rows
      #expect(packed.map(\.count) == entry["lengths"]?.array?.compactMap(\.int), "\(names) \(rows) × \(length)")
      var text = String.UnicodeScalarView()
      for token in packed.joined() {
        try text.append(#require(token == 256 ? "\u{241E}" : Unicode.Scalar(UInt32(truncatingIfNeeded: token))))
      }
      #expect(String(text) == entry["text"]?.string, "\(names) \(rows) × \(length)")
    }
  }
}
