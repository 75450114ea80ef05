internal import JSON

/// Byte-pair encoding: a word starts as its characters and neighbours merge, lowest rank first
/// (Sennrich et al., https://arxiv.org/abs/1508.07909).
final class BytePairModel: Model {
  private let vocabulary: Vocabulary
  private let merges: MergeTable
  private let unknown: [UInt8]?
  private let unknownID: Int?
  private let prefix: [UInt8]
  private let suffix: [UInt8]
  private let fuseUnknown: Bool
  private let byteTokens: [Int32]?
  private let ignoreMerges: Bool
  private let file: String

  let takesBytes: Bool
  /// The ids of the 256 bytes, when words come as bytes; and the vocabulary by bytes, when `ignoreMerges` asks for it.
  private let byteIDs: [Int32]
  private let byBytes: ByteTable
  /// SentencePiece's space, when no merge crosses from another character into it: words can then be cut before it.
  private let cutsAtSpace: Bool

  var vocabularyCount: Int { vocabulary.count }
  func id(of token: [UInt8]) -> Int? { vocabulary.id(of: token) }
  func token(of id: Int) -> [UInt8]? { vocabulary.token(of: id).map { Array($0) } }

  init(_ field: Field, byteLevel: Bool) throws {
    file = field.file
    if let dropout = try field.optional("dropout"), try dropout.number() != 0 {
      throw dropout.error("dropout makes encoding random; only null or 0 is supported")
    }
    vocabulary = try Vocabulary(field.required("vocab"))
    unknown = try field.optional("unk_token")?.bytes()
    prefix = try field.optional("continuing_subword_prefix")?.bytes() ?? []
    suffix = try field.optional("end_of_word_suffix")?.bytes() ?? []
    fuseUnknown = try field.bool("fuse_unk", default: false)
    byteTokens = try field.bool("byte_fallback", default: false) ? vocabulary.byteTokens : nil
    ignoreMerges = try field.bool("ignore_merges", default: false)
    unknownID = unknown.flatMap(vocabulary.id)
    merges = try MergeTable(field.required("merges"), vocabulary, prefix: prefix)

    let vocabulary = vocabulary
    byteIDs = ByteAlphabet.scalars.map { value in
      var token: [UInt8] = []
      appendScalar(value, to: &token)
      return Int32(vocabulary.id(of: token) ?? -1)
    }
    takesBytes = byteLevel && prefix.isEmpty && suffix.isEmpty && byteIDs.allSatisfy { $0 >= 0 }
    var byBytes = ByteTable(capacity: 0)
    if takesBytes, ignoreMerges {
      byBytes = ByteTable(capacity: vocabulary.count)
      for index in 0..<vocabulary.count {
        guard let bytes = ByteAlphabet.unmap(Array(vocabulary.table.key(at: index))) else { continue }
        byBytes.insert(bytes, vocabulary.table.id(at: index))
      }
    }
    self.byBytes = byBytes
    cutsAtSpace = !takesBytes && !ignoreMerges && prefix.isEmpty && suffix.isEmpty && Self.canCutAtSpace(vocabulary)
  }

  private static let space: [UInt8] = [0xE2, 0x96, 0x81]

  private static func canCutAtSpace(_ vocabulary: Vocabulary) -> Bool {
    guard vocabulary.id(of: space) != nil else { return false }
    for index in 0..<vocabulary.count {
      let token = Array(vocabulary.table.key(at: index))
      guard token.count > 3 else { continue }
      var other = false
      var at = 0
      while at < token.count {
        if token[at...].starts(with: space) {
          if other { return false }
          at += 3
        } else {
          other = true
          at += 1
        }
      }
    }
    return true
  }

  func encode(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    guard cutsAtSpace, word.count > 3 else { return try encodeWhole(word, &scratch, to: &out) }
    var start = 0
    var at = 1
    while at + 3 <= word.count {
      if word[at] == 0xE2, word[at + 1] == 0x96, word[at + 2] == 0x81 {
        let afterSpace = at >= 3 && word[at - 3] == 0xE2 && word[at - 2] == 0x96 && word[at - 1] == 0x81
        if !afterSpace {
          try encodePart(UnsafeBufferPointer(rebasing: word[start..<at]), &scratch, to: &out)
          start = at
        }
        at += 3
      } else {
        at += 1
      }
    }
    try encodePart(UnsafeBufferPointer(rebasing: word[start...]), &scratch, to: &out)
  }

  private func encodeWhole(
    _ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]
  ) throws {
    try scratch.cached(word, to: &out) { scratch, out in
      if ignoreMerges, let id = takesBytes ? byBytes.find(word) : vocabulary.id(of: word) { return out.append(id) }
      try merge(word, &scratch, to: &out)
    }
  }

  private func encodePart(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    try scratch.cached(word, to: &out) { scratch, out in try merge(word, &scratch, to: &out) }
  }

  private func merge(_ word: UnsafeBufferPointer<UInt8>, _ scratch: inout Scratch, to out: inout [Int]) throws {
    scratch.merges.symbols.removeAll(keepingCapacity: true)
    if takesBytes {
      for byte in word { scratch.merges.symbols.append(byteIDs[Int(byte)]) }
    } else {
      if !prefix.isEmpty || !suffix.isEmpty {
        try scratch.effort.spend(word.count * (prefix.count + 1) + suffix.count, "the continuing_subword_prefix")
      }
      try symbols(of: word, into: &scratch.merges.symbols)
    }
    scratch.merges.merge(merges)
    for symbol in scratch.merges.symbols { out.append(Int(symbol)) }
  }

  /// The first symbols of a word: characters that are tokens, else their bytes' tokens, else the unknown token.
  /// A waiting unknown token is put down only before the next known character, as the oracle does: byte tokens
  /// pass it by.
  private func symbols(of word: UnsafeBufferPointer<UInt8>, into symbols: inout [Int32]) throws {
    var waiting: Int?
    var at = 0
    var piece: [UInt8] = []
    while at < word.count {
      let end = at + scalar(in: word, at: at).length
      piece.removeAll(keepingCapacity: true)
      if at > 0 { piece.append(contentsOf: prefix) }
      piece.append(contentsOf: word[at..<end])
      if end == word.count { piece.append(contentsOf: suffix) }
      at = end
      if let id = piece.withUnsafeBufferPointer(vocabulary.id) {
        if let unknown = waiting { symbols.append(Int32(truncatingIfNeeded: unknown)) }
        waiting = nil
        symbols.append(Int32(truncatingIfNeeded: id))
        continue
      }
      if let byteTokens, piece.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
        for byte in piece { symbols.append(byteTokens[Int(byte)]) }
        continue
      }
      guard let unknown else { continue }
      guard let unknownID else {
        throw TokenizerError(
          "\(file): model: the text needs the unk_token \"\(String(decoding: unknown, as: UTF8.self))\", "
            + "which the vocabulary does not have")
      }
      if let before = waiting, !fuseUnknown { symbols.append(Int32(truncatingIfNeeded: before)) }
      waiting = unknownID
    }
    if let waiting { symbols.append(Int32(truncatingIfNeeded: waiting)) }
  }
}
