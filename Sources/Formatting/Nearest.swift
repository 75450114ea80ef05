/// The one of `names` that `word` was most likely meant to be: few typing errors away (a letter wrong, missing, too
/// many, or two swapped), or else beginning with it. Upper and lower case, `-` and `_` count as equal; of
/// equally near names the first. Nil when none is near enough to be worth suggesting.
public func nearest(_ word: String, in names: [String]) -> String? {
  let longest = 128
  func spelled(_ text: String) -> [Unicode.Scalar] {
    text.lowercased().unicodeScalars.prefix(longest + 1).map { $0 == "-" ? "_" : $0 }
  }
  let wanted = spelled(word)
  if wanted.isEmpty || wanted.count > longest { return nil }
  var best: (name: String, errors: Int)?
  for name in names {
    let errors = typingErrors(wanted, spelled(name))
    if errors < best?.errors ?? Int.max { best = (name, errors) }
  }
  // One error in three letters: "heads" does not mean "layers".
  if let best, best.errors == 0 || best.errors <= max(1, wanted.count / 3), best.errors < wanted.count {
    return best.name
  }
  return wanted.count < 3 ? nil : names.first { spelled($0).starts(with: wanted) }
}

/// Optimal string alignment distance.
private func typingErrors(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
  var before = [Int](repeating: 0, count: b.count + 1)
  var above = Array(0...b.count)
  for i in 0..<a.count {
    var row = [i + 1] + [Int](repeating: 0, count: b.count)
    for j in 0..<b.count {
      row[j + 1] = min(above[j + 1] + 1, row[j] + 1, above[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { row[j + 1] = min(row[j + 1], before[j - 1] + 1) }
    }
    (before, above) = (above, row)
  }
  return above[b.count]
}
