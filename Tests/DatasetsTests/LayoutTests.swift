import Datasets
import Foundation
import JSON
import Testing

/// Which files make up which split, against `datasets`.
@Suite struct LayoutTests {
  @Test func choosesTheFilesThatDatasetsChooses() throws {
    let cases = try golden("layouts")
    for layout in cases {
      let scratch = try Scratch()
      for file in layout["files"]?.array ?? [] {
        let parts = file.array ?? []
        let path = try #require(parts.first?.string)
        if parts.count == 3, let target = parts[2].string {
          try FileManager.default.createSymbolicLink(atPath: scratch.at(path), withDestinationPath: target)
        } else {
          try scratch.write(path, try #require(parts[1].string))
        }
      }
      let place = try RecordedPlace(scratch.path)
      for load in layout["loads"]?.array ?? [] {
        let (config, split) = (load["config"]?.string ?? "", try #require(load["split"]?.string))
        let note = "\(layout["name"]?.string ?? ""): \(config) \(split)"
        let expected = load["rows"]?.array?.compactMap(\.string)
        let named = "[\(config):\(split)]"
        #expect((try? documents(scratch.path + named)) == expected, "\(note)")
        let remote = try? texts(
          CalibrationData(sources: ["owner/name" + named], places: RecordedPlaces(places: ["owner/name": place])).pack(
            encoder: ByteEncoding(), seqLength: 1 << 20, count: 1000
          ).rows)
        #expect(remote == expected, "elsewhere: \(note)")
        if expected == nil {
          let said = message { _ = try documents(scratch.path + named) }
          #expect(said.contains(scratch.path), "\(note): \(said)")
        }
      }
    }
  }

  @Test func matchesAsFsspecDoes() throws {
    var matched = 0
    for entry in try golden("globs") {
      let (pattern, paths) = (try #require(entry.array?[0].string), entry.array?[1].array)
      guard let paths else {
        #expect(throws: DatasetError.self, "\(pattern)") { try Glob(pattern) }
        continue
      }
      let glob = try Glob(pattern)
      for path in paths {
        let (path, isMatch) = (try #require(path.array?[0].string), path.array?[1].bool)
        #expect(glob.matches(path) == isMatch, "\(pattern) and \(path)")
        matched += isMatch == true ? 1 : 0
      }
    }
    #expect(matched > 1000)
  }

  @Test func readsCardsAsPyYAMLDoes() throws {
    var read = 0
    for entry in try golden("cards") {
      let (name, card) = (try #require(entry["name"]?.string), try #require(entry["card"]?.string))
      let found = try? DatasetCard(Array(card.utf8), place: "x").configs.map { config in
        JSON.object([
          ("name", .text(config.name)), ("default", .bool(config.isDefault)),
          ("data_dir", config.directory.map { .text($0) } ?? .null),
          (
            "data_files",
            config.dataFiles.map {
              .array($0.map { .array([.text($0.split), .array($0.patterns.map { .text($0) })]) })
            }
              ?? .null
          ),
        ])
      }
      // Anchors are refused.
      if name == "an anchor" {
        #expect(found == nil)
        continue
      }
      // YAML that is wrong in other keys is not looked at.
      if entry["configs"]?.array == nil, found?.isEmpty == true { continue }
      let said = message { _ = try DatasetCard(Array(card.utf8), place: "x") }
      #expect(found == entry["configs"]?.array, "\(name): \(said)")
      read += found == nil ? 0 : 1
    }
    #expect(read > 150)
  }
}
