import Formatting

/// Columns and rows of a `Table` on their way to text.
struct Grid {
  /// Nil is a rule between rows.
  private typealias Row = (cells: [String], mark: String, highlighted: Bool)

  private var columns: [Table.Column]
  private var rows: [Row?]

  init(_ columns: [Table.Column], _ lines: [Table.Line]) {
    self.columns = columns
    rows = lines.map { line in
      switch line {
      case .sectionBreak: nil
      case .row(let cells, let mark, let highlighted): (cells, mark, highlighted)
      }
    }
    for index in columns.indices {
      self.columns[index].title = Width.printable(columns[index].title)
      self.columns[index].short = Width.printable(columns[index].short)
    }
  }

  private func cell(_ row: Row, _ column: Int) -> String { column < row.cells.count ? row.cells[column] : "" }

  /// Takes out the sharable columns in which all rows, two or more, have the same.
  mutating func removeShared() -> [(title: String, cell: String)] {
    let present = rows.compactMap { $0 }
    guard present.count > 1, let first = present.first else { return [] }
    let shared = columns.indices.filter { column in
      columns[column].isSharable && present.allSatisfy { cell($0, column) == cell(first, column) }
    }
    let found = shared.map { (columns[$0].title, cell(first, $0)) }
    rows = rows.map { row in
      row.map { row in
        (columns.indices.filter { !shared.contains($0) }.map { cell(row, $0) }, row.mark, row.highlighted)
      }
    }
    for column in shared.reversed() { columns.remove(at: column) }
    return found
  }

  /// A last column with the rows' marks, if there are any.
  mutating func addMarks() {
    guard rows.contains(where: { $0?.mark.isEmpty == false }) else { return }
    rows = rows.map { row in
      row.map { row in (columns.indices.map { cell(row, $0) } + [row.mark], "", row.highlighted) }
    }
    columns.append(Table.Column(""))
  }

  // MARK: Widths

  /// A width for each column such that a framed row fits; nil where none does. Without a limit, as wide as they are.
  /// Headings are broken first, then shortened; then flexible columns are broken.
  mutating func fit(within limit: Int?) -> [Int]? {
    guard let limit else { return widths() }
    let room = limit - 3 * columns.count - 1
    var found = widths()
    func fits() -> Bool { found.reduce(0, +) <= room }
    Self.shrink(&found, to: room, least: leastForHeadings())
    if !fits() {
      for column in columns.indices { columns[column].title = columns[column].short }
      found = widths()
      Self.shrink(&found, to: room, least: leastForHeadings())
    }
    Self.shrink(&found, to: room, least: columns.indices.map(narrowest))
    return fits() ? found : nil
  }

  private func cellWidth(_ column: Int) -> Int {
    rows.reduce(0) { most, row in max(most, row.map { Width.of(cell($0, column)) } ?? 0) }
  }

  private func widths() -> [Int] { columns.indices.map { max(cellWidth($0), Width.of(columns[$0].title)) } }

  private func leastForHeadings() -> [Int] {
    columns.indices.map { max(cellWidth($0), Width.narrowest(columns[$0].title)) }
  }

  /// The least width of a column: a flexible one should hold each word, except those so long that they would have to be
  /// broken on most terminals.
  private func narrowest(_ column: Int) -> Int {
    let heading = Width.narrowest(columns[column].title)
    guard columns[column].isFlexible else { return max(heading, cellWidth(column)) }
    let words = rows.compactMap { $0 }.flatMap { cell($0, column).split(separator: " ") }.map { Width.of(String($0)) }
    return max(8, heading, words.filter { $0 <= 40 }.max() ?? 0)
  }

  /// Takes from the widest column that may become narrower until the row fits.
  private static func shrink(_ widths: inout [Int], to room: Int, least: [Int]) {
    while widths.reduce(0, +) > room {
      let candidates = widths.indices.filter { widths[$0] > least[$0] }
      guard let widest = candidates.max(by: { widths[$0] < widths[$1] }) else { return }
      // As far down as the next widest, or as far as needed, in one step: widths may be huge.
      let next = candidates.filter { widths[$0] < widths[widest] }.map { widths[$0] }.max() ?? 0
      let excess = widths.reduce(0, +) - room
      widths[widest] = max(least[widest], min(widths[widest] - 1, max(next, widths[widest] - excess)))
    }
  }

  // MARK: Text

  func framed(_ widths: [Int], _ frame: Frame, color: Bool) -> String {
    func body(_ wrapped: [[String]], _ style: Style?) -> String {
      (0..<(wrapped.map(\.count).max() ?? 1)).map { line in
        let parts = columns.indices.map { column in
          let text = line < wrapped[column].count ? wrapped[column][line] : ""
          let space = String(repeating: " ", count: max(0, widths[column] - Width.of(text)))
          let painted = style?.paint(text, color: color) ?? text
          return columns[column].alignment == .right ? space + painted : painted + space
        }
        return frame.row(parts, color: color)
      }.joined()
    }
    var text = frame.rule(widths, .top, color: color)
    if columns.contains(where: { !$0.title.isEmpty }) {
      let headings = zip(columns, widths).map { Width.stacked($0.title, to: $1) }
      text += body(headings, .bold) + frame.rule(widths, .middle, color: color)
    }
    for row in rows {
      guard let row else {
        text += frame.rule(widths, .middle, color: color)
        continue
      }
      let wrapped = columns.indices.map { column in
        let text = cell(row, column)
        return Width.of(text) <= widths[column] ? [text] : Width.wrap(text, to: widths[column])
      }
      text += body(wrapped, row.highlighted ? .highlight : nil)
    }
    return text + frame.rule(widths, .bottom, color: color)
  }

  /// Each row as a list of its cells with their headings, one below the other; empty cells are left out.
  func records(width: Int, color: Bool) -> String {
    rows.compactMap { $0 }.map { row in
      var text = ""
      for column in columns.indices where !cell(row, column).isEmpty {
        let title = columns[column].title
        let line = title.isEmpty ? cell(row, column) : "\(title): \(cell(row, column))"
        for part in Width.wrap(line, to: width - (text.isEmpty ? 0 : 2)) {
          text +=
            (text.isEmpty ? "" : "  ") + (row.highlighted ? Style.highlight.paint(part, color: color) : part) + "\n"
        }
      }
      return text
    }.joined()
  }
}

/// The lines around and between cells.
enum Frame {
  case boxed, bare

  enum Place { case top, middle, bottom }

  func row(_ parts: [String], color: Bool) -> String {
    switch self {
    case .bare:
      var line = parts.joined(separator: "  ")
      while line.last == " " { line.removeLast() }
      return line + "\n"
    case .boxed:
      let bar = Style.dim.paint("│", color: color)
      return bar + parts.map { " \($0) " }.joined(separator: bar) + bar + "\n"
    }
  }

  func rule(_ widths: [Int], _ place: Place, color: Bool) -> String {
    switch (self, place) {
    case (.bare, .middle):
      return widths.map { String(repeating: "-", count: $0) }.joined(separator: "  ") + "\n"
    case (.bare, _): return ""
    case (.boxed, let place):
      let (left, cross, right) =
        switch place {
        case .top: ("╭", "┬", "╮")
        case .middle: ("├", "┼", "┤")
        case .bottom: ("╰", "┴", "╯")
        }
      let line = left + widths.map { String(repeating: "─", count: $0 + 2) }.joined(separator: cross) + right
      return Style.dim.paint(line, color: color) + "\n"
    }
  }
}
