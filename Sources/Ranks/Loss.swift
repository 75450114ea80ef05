import JSON
import Messages

/// Why the ranks cannot go on.
struct Loss: Sendable, Equatable {
  /// The rank that it is about, where it is about one.
  var rank: Int?
  var text: String
  /// A signal that people send, which may be on its way to the other ranks, too.
  var isInterruption = false

  init(_ rank: Int?, _ text: String, isInterruption: Bool = false) {
    (self.rank, self.text, self.isInterruption) = (rank, text, isInterruption)
  }

  init(parsing bytes: [UInt8]) {
    let json = try? JSON(parsing: bytes)
    rank = json?["rank"]?.int
    text = json?["text"]?.string ?? "a rank has failed, and what it says of it cannot be read"
    isInterruption = json?["is_interruption"]?.bool ?? false
  }

  var encoded: [UInt8] {
    let rank = rank.map { JSON.int($0) } ?? .null
    let object = JSON.object([("rank", rank), ("text", .text(text)), ("is_interruption", .bool(isInterruption))])
    return Array(object.serialized().utf8)
  }

  var error: RankError { RankError(.lost, Message(text), rank: rank) }
}
