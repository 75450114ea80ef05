/// Stretches of `length` tokens and one more, cut from a dataset's documents as pretraining does it: documents in a shuffled
/// order that is another in each epoch, one after the other, and the stretches shuffled again. Neighbouring stretches share one
/// token, the last of one being the first of the next.
///
/// Any stretch can be asked for by its number, so that a run goes on where it was.
struct TokenSamples {
  private let tokens: IndexedTokens
  private let length: Int
  /// Documents in their order, epoch after epoch, and where each begins when they follow one another.
  private let order: [Int]
  private let begins: [Int]
  /// The order of stretches.
  private let places: [Int32]

  /// - Parameters:
  ///   - documents: those of the dataset that are used.
  ///   - length: tokens that go into a model.
  ///   - count: stretches that are wanted.
  ///   - isShuffled: whether documents and stretches are shuffled.
  /// - Throws: `DatasetError` when the documents hold no stretch at all.
  init(_ tokens: IndexedTokens, documents: Range<Int>, length: Int, count: Int, seed: UInt64, isShuffled: Bool = true)
    throws
  {
    (self.tokens, self.length) = (tokens, length)
    let all = documents.reduce(0) { $0 + tokens.lengths[$1] }
    guard all > 0 else { throw DatasetError("\(tokens.prefix): there are no tokens in documents \(documents)") }
    let (needed, isTooMuch) = count.multipliedReportingOverflow(by: length)
    guard !isTooMuch, count <= Int(Int32.max), needed / all < 1 << 20 else {
      throw DatasetError(
        "\(tokens.prefix): \(count) rows of \(length) tokens are too many for \(all) tokens of text")
    }
    var random = PythonRandom(seed: seed)
    var (order, begins, end) = ([Int](), [Int](), 0)
    while end < needed + 1 {
      var epoch = Array(documents)
      if isShuffled { random.shuffle(&epoch) }
      for document in epoch where tokens.lengths[document] > 0 {
        order.append(document)
        begins.append(end)
        end += tokens.lengths[document]
      }
    }
    (self.order, self.begins) = (order, begins)
    var places = (0..<Int32(count)).map { $0 }
    if isShuffled { random.shuffle(&places) }
    self.places = places
  }

  /// `length` + 1 tokens, by the documents that they are of.
  func row(_ number: Int) throws -> [[Int32]] {
    var at = Int(places[number]) * length
    var row: [[Int32]] = []
    var missing = length + 1
    // The last document that begins at or before the first token.
    var (low, high) = (0, begins.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if begins[middle] <= at { low = middle } else { high = middle - 1 }
    }
    while missing > 0 {
      let document = order[low]
      let first = at - begins[low]
      let last = min(tokens.lengths[document], first + missing)
      row.append(try tokens.tokens(document: document, first..<last))
      missing -= last - first
      at += last - first
      low += 1
    }
    return row
  }
}

/// Rows for training from several datasets, mixed by their weights.
public struct TokenBlend: Sendable {
  /// One of the datasets.
  public struct Part: Sendable {
    public let tokens: IndexedTokens
    public let documents: Range<Int>
    public let weight: Double

    /// - Parameters:
    ///   - documents: those that are used.
    ///   - weight: of the dataset's rows among all.
    public init(_ tokens: IndexedTokens, documents: Range<Int>, weight: Double) {
      (self.tokens, self.documents, self.weight) = (tokens, documents, weight)
    }
  }

  private let samples: [TokenSamples]
  /// For each row the dataset that it is of, and which of that one's rows.
  private let parts: [UInt16]
  private let numbers: [Int32]

  public var count: Int { parts.count }

  /// - Parameters:
  ///   - length: tokens that go into a model; a row has one more.
  ///   - count: rows.
  ///   - isShuffled: whether documents and rows of each dataset are shuffled.
  /// - Throws: `DatasetError` for datasets without tokens, and for weights that are no shares.
  public init(_ list: [Part], length: Int, count: Int, seed: UInt64, isShuffled: Bool = true) throws {
    let whole = list.reduce(0) { $0 + $1.weight }
    guard !list.isEmpty, list.count < 1 << 16, whole > 0, whole.isFinite, list.allSatisfy({ $0.weight >= 0 }) else {
      throw DatasetError("the weights of datasets should be numbers above zero")
    }
    var taken = [Int](repeating: 0, count: list.count)
    var (parts, numbers): ([UInt16], [Int32]) = ([], [])
    for row in 0..<count {
      // The dataset that lags most behind its share.
      func lag(_ part: Int) -> Double { list[part].weight / whole * Double(row + 1) - Double(taken[part]) }
      let part = list.indices.max { (lag($0), $1) < (lag($1), $0) } ?? 0
      parts.append(UInt16(part))
      numbers.append(Int32(clamping: taken[part]))
      taken[part] += 1
    }
    samples = try zip(list, taken).enumerated().map { number, part in
      try TokenSamples(
        part.0.tokens, documents: part.0.documents, length: length, count: part.1, seed: seed &+ UInt64(number),
        isShuffled: isShuffled)
    }
    (self.parts, self.numbers) = (parts, numbers)
  }

  /// `length` + 1 tokens, by the documents that they are of.
  public func row(_ number: Int) throws -> [[Int32]] { try samples[Int(parts[number])].row(Int(numbers[number])) }
}
