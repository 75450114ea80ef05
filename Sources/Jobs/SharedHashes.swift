import Checkpoint
import Execution
import JSON
import Models
package import Ranks

/// Which process hashes which weight file, where several do a run: one of those whose layers are in it, so that it is read where
/// it is needed.
package struct SharedHashes {
  /// Of each rank.
  let files: [[String]]
  private let checkpoint: CheckpointReader

  init(_ model: SourceModel, _ layout: CrewLayout) throws {
    checkpoint = model.checkpoint
    let source = WeightSource(model, dtype: .float32)
    var stages: [String: Set<Int>] = [:]
    for (stage, layers) in layout.stages.enumerated() {
      for name in layers.flatMap(source.names(layer:)) {
        if let file = checkpoint.entry(name)?.file { stages[file, default: []].insert(stage) }
      }
    }
    files = Self.dealt(try checkpoint.unhashedFiles(), stages: stages, layout)
  }

  /// Deals files out, the largest first, each to the rank with the fewest bytes among those that may have it.
  ///
  /// - Parameter stages: whose layers are in each file; one with none is for every rank.
  package static func dealt(
    _ files: [(name: String, size: Int)], stages: [String: Set<Int>], _ layout: CrewLayout
  ) -> [[String]] {
    var dealt = [[String]](repeating: [], count: layout.ranks)
    var bytes = [Int](repeating: 0, count: layout.ranks)
    for file in files.sorted(by: { ($0.size, $1.name) > ($1.size, $0.name) }) {
      let ranks = (0..<layout.ranks).filter { stages[file.name]?.contains(layout.stage(of: $0)) ?? true }
      guard let rank = ranks.min(by: { bytes[$0] < bytes[$1] }) else { continue }
      dealt[rank].append(file.name)
      bytes[rank] += file.size
    }
    return dealt
  }

  /// Has all ranks hash their files; the checkpoint knows all hashes then.
  ///
  /// - Parameter progress: gets the bytes done by this rank.
  /// - Throws: `RankError`; `CheckpointError` when a file cannot be read.
  func collect(_ world: World, progress: (Int) -> Void) throws {
    for rank in 1..<world.size { try world.send(CrewCommand.hash(files: files[rank]).bytes, to: rank) }
    var before = 0
    for name in files[0] {
      var done = 0
      _ = try checkpoint.sha256(file: name) {
        done = $0
        progress(before + $0)
      }
      before += done
    }
    for rank in 1..<world.size {
      let found = try JSON(parsing: world.receiveBytes(from: rank))
      for name in files[rank] {
        guard let hash = found[name]?.string, hash.utf8.count == 64 else {
          throw RankError(.misuse, "rank \(rank) does not say what is in \(name)")
        }
        checkpoint.learn(sha256: hash, ofFile: name)
      }
    }
  }

  /// What another rank answers.
  static func found(_ files: [String], of checkpoint: CheckpointReader) throws -> [UInt8] {
    let hashes = try files.map { ($0, JSON.text(try checkpoint.sha256(file: $0))) }
    return Array(JSON.object(hashes).serialized().utf8)
  }
}
