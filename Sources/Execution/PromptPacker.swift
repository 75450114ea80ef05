import Models
import Torch

/// Packs prompts into rows without padding. Prompts of a group (a subject's questions) that begin with the same tokens share
/// them: they go through the model once for all of the group, however many rows it fills.
public struct PromptPacker {
  /// A packed row, and the prompts whose last tokens are wanted of it, in order. Wanted tokens beyond them are padding.
  public struct Row {
    public let batch: TokenBatch
    public let prompts: [Int]
  }

  private let prompts: [[Int32]]
  private let limit: Int
  private var rows: [Row] = []
  private var tokens: [Int32] = []
  private var packing = Packing()
  private var owners: [Int] = []

  /// Fewer shared tokens are not worth a segment of their own.
  private static let leastShared = 4
  /// Sizes of rows, and of what is wanted of them, are multiples of these.
  private static let step = 64, wantedStep = 16

  private init(_ prompts: [[Int32]], limit: Int) {
    self.prompts = prompts
    self.limit = limit
  }

  /// - Parameters:
  ///   - prompts: each of at least one token.
  ///   - groups: numbers of prompts that may share tokens; each prompt is in one group.
  ///   - limit: tokens of a row at most; a longer prompt has a row to itself.
  ///   - sharing: longer prompts share no tokens with others (`ModelDescription.longestSharing`).
  public static func rows(_ prompts: [[Int32]], groups: [[Int]], limit: Int, sharing: Int = .max) -> [Row] {
    var packer = PromptPacker(prompts, limit: max(limit / step * step, step))
    for group in groups {
      packer.add(group.filter { prompts[$0].count <= sharing })
      for prompt in group where prompts[prompt].count > sharing { packer.add([prompt]) }
    }
    packer.close(keeping: 0..<0)
    return packer.rows
  }

  /// Tokens that all prompts of a group begin with; each keeps one of its own.
  private func sharedCount(_ group: [Int]) -> Int {
    guard let first = group.first.map({ prompts[$0] }), group.count > 1 else { return 0 }
    var shared = first.count - 1
    for index in group.dropFirst() {
      let prompt = prompts[index]
      shared = min(shared, prompt.count - 1)
      var count = 0
      while count < shared, prompt[count] == first[count] { count += 1 }
      shared = count
    }
    return shared >= Self.leastShared ? shared : 0
  }

  private mutating func add(_ group: [Int]) {
    guard let first = group.first else { return }
    let shared = sharedCount(group)
    if tokens.count + prompts[first].count > limit { close(keeping: 0..<0) }
    // The shared keys' places: keys that were carried come before the row's own.
    var prefix = packing.carried + tokens.count..<packing.carried + tokens.count + shared
    if shared > 0 { append(prompts[first][..<shared], from: 0, prefix: 0..<0) }
    for index in group {
      let own = prompts[index][shared...]
      if tokens.count + own.count > limit, !owners.isEmpty {
        close(keeping: prefix)
        packing.carried = shared
        prefix = 0..<shared
      }
      append(own, from: shared, prefix: prefix)
      packing.wanted.append(tokens.count - 1)
      owners.append(index)
    }
  }

  private mutating func append(_ piece: ArraySlice<Int32>, from position: Int, prefix: Range<Int>) {
    packing.segments.append(
      AttentionSegment(
        query: tokens.count, queries: piece.count, prefix: prefix.lowerBound, prefixKeys: prefix.count,
        own: packing.carried + tokens.count, keys: piece.count))
    packing.positions += position..<position + piece.count
    tokens += piece
  }

  /// Ends a row. Rows, and the tokens wanted of them, come in few sizes: matrix products are compiled for each size, and
  /// compute whole blocks of rows anyway. Padding is a dummy sequence whose outputs are ignored.
  private mutating func close(keeping kept: Range<Int>) {
    guard !tokens.isEmpty else { return }
    packing.kept = kept
    let missing = (Self.step - tokens.count % Self.step) % Self.step
    if missing > 0 { append(ArraySlice(repeatElement(0, count: missing)), from: 0, prefix: 0..<0) }
    if let last = packing.wanted.last {
      let spare = (Self.wantedStep - packing.wanted.count % Self.wantedStep) % Self.wantedStep
      packing.wanted += repeatElement(last, count: spare)
    }
    rows.append(Row(batch: TokenBatch(packed: tokens, packing), prompts: owners))
    (tokens, packing, owners) = ([], Packing(), [])
  }
}
