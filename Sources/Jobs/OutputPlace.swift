import Files
import Messages

/// Where the result goes, held against where the model lies.
enum OutputPlace {
  /// - Throws: `RequestError` when one is the other, or lies inside it.
  static func check(output: String, model: String, kept: String?) throws {
    func refuse(_ text: Message) throws -> Never { throw RequestError(text + "; name a directory of its own") }
    switch relation(of: output, to: model) {
    case .same: try refuse("\(parameter: "output_hf_path") \(output) is the model itself")
    case .inside: try refuse("\(parameter: "output_hf_path") \(output) lies inside the model's directory \(model)")
    case .around: try refuse("\(parameter: "output_hf_path") \(output) holds the model's directory \(model)")
    case .apart: break
    }
    guard let kept else { return }
    guard !kept.isEmpty else {
      throw RequestError("\(parameter: "prune_intermediate_ckpt") is empty; name a directory or leave it out")
    }
    switch relation(of: kept, to: model) {
    case .same, .inside:
      try refuse("\(parameter: "prune_intermediate_ckpt") \(kept) lies in the model's directory \(model)")
    case .around, .apart: break
    }
    switch relation(of: kept, to: output) {
    case .same, .inside:
      try refuse(
        """
        \(parameter: "prune_intermediate_ckpt") \(kept) lies in the output \(output), which has to appear as a whole
        """)
    case .around, .apart: break
    }
  }

  enum Relation { case same, inside, around, apart }

  /// By the files the system sees, whatever their paths look like: links, slashes, dots.
  static func relation(of a: String, to b: String) -> Relation {
    let (first, second) = (Ancestry(a), Ancestry(b))
    if first.path == second.path || (first.id != nil && first.id == second.id) { return .same }
    if second.id.map(first.above.contains) ?? false || first.path.hasPrefix(second.path + "/") { return .inside }
    if first.id.map(second.above.contains) ?? false || second.path.hasPrefix(first.path + "/") { return .around }
    return .apart
  }

  /// A path with its links resolved as far as it is there, and which directories are above it.
  private struct Ancestry {
    let path: String
    let id: DirectoryIdentity?
    let above: Set<DirectoryIdentity>

    init(_ given: String) {
      path = resolvedPath(given)
      id = DirectoryIdentity(path: path)
      var above: Set<DirectoryIdentity> = []
      var rest = path
      while let slash = rest.lastIndex(of: "/"), rest != "/" {
        rest = slash == rest.startIndex ? "/" : String(rest[..<slash])
        if let id = DirectoryIdentity(path: rest) { above.insert(id) }
      }
      self.above = above
    }
  }
}
