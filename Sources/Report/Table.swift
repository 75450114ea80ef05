/// Rows of text in aligned columns: in a frame for a terminal, bare for a pipe.
public struct Table: Sendable {
  public enum Alignment: Sendable { case left, right }

  public struct Column: Sendable {
    public var title: String
    public var alignment: Alignment
    /// May be broken over several lines where the terminal is too narrow.
    public var isFlexible: Bool

    public init(_ title: String, _ alignment: Alignment = .left, isFlexible: Bool = false) {
      self.title = title
      self.alignment = alignment
      self.isFlexible = isFlexible
    }
  }

  private enum Line {
    case row(cells: [String], highlighted: Bool)
    case sectionBreak
  }

  public var title: String?
  private var columns: [Column]
  private var lines: [Line] = []

  public init(title: String? = nil, columns: [Column]) {
    self.title = title
    self.columns = columns
  }

  /// Adds a row. Missing cells are empty; cells beyond the last column open a column without a title. A
  /// highlighted row is marked by an asterisk, and by colour where there is any.
  public mutating func add(_ cells: [String], highlighted: Bool = false) {
    while columns.count < cells.count { columns.append(Column("")) }
    lines.append(.row(cells: cells.map(Width.printable), highlighted: highlighted))
  }

  /// A rule between the rows so far and those to come.
  public mutating func addSectionBreak() { lines.append(.sectionBreak) }

  /// Prints for the far end: framed and fitted to its width on a terminal, bare columns elsewhere.
  public func render(for terminal: Terminal) -> String {
    render(width: terminal.isTTY ? terminal.width ?? 80 : nil, color: terminal.color)
  }

  /// - Parameters:
  ///   - width: columns of the terminal; nil renders bare columns two spaces apart, as wide as they need to be.
  ///   - color: allow colours.
  /// - Returns: the table, ending in a newline; nothing for a table of no columns.
  public func render(width: Int?, color: Bool) -> String {
    if columns.isEmpty { return "" }
    var shown = columns
    var rows: [(cells: [String], highlighted: Bool)?] = lines.map { line in
      switch line {
      case .sectionBreak: nil
      case .row(let cells, let highlighted): (cells, highlighted)
      }
    }
    for index in shown.indices { shown[index].title = Width.printable(shown[index].title) }
    if rows.contains(where: { $0?.highlighted == true }) {
      let count = shown.count
      shown.append(Column(""))
      rows = rows.map { row in
        row.map { row in
          let padding = Array(repeating: "", count: count - row.cells.count)
          return (row.cells + padding + [row.highlighted ? "*" : ""], row.highlighted)
        }
      }
    }
    var widths = shown.map { Width.of($0.title) }
    for row in rows.compactMap({ $0 }) {
      for (index, cell) in row.cells.enumerated() { widths[index] = max(widths[index], Width.of(cell)) }
    }
    if let width { Self.shrink(&widths, of: shown, to: width - 3 * shown.count - 1) }

    let frame = width == nil ? Frame.bare : Frame.boxed
    func body(_ cells: [String], _ style: Style?) -> String {
      let wrapped = shown.indices.map { index in
        let cell = index < cells.count ? cells[index] : ""
        return Width.of(cell) <= widths[index] ? [cell] : Width.wrap(cell, to: widths[index])
      }
      let height = wrapped.map(\.count).max() ?? 1
      return (0..<height).map { line in
        let parts = shown.indices.map { index in
          let text = line < wrapped[index].count ? wrapped[index][line] : ""
          let space = String(repeating: " ", count: max(0, widths[index] - Width.of(text)))
          let painted = style?.paint(text, color: color) ?? text
          return shown[index].alignment == .right ? space + painted : painted + space
        }
        return frame.row(parts, color: color)
      }.joined()
    }

    var text = title.map { Style.bold.paint(Width.printable($0), color: color) + "\n" } ?? ""
    text += frame.rule(widths, .top, color: color)
    if shown.contains(where: { !$0.title.isEmpty }) {
      text += body(shown.map(\.title), .bold) + frame.rule(widths, .middle, color: color)
    }
    for row in rows {
      text += row.map { body($0.cells, $0.highlighted ? .highlight : nil) } ?? frame.rule(widths, .middle, color: color)
    }
    return text + frame.rule(widths, .bottom, color: color)
  }

  /// Takes columns from the widest flexible column until the row fits, leaving each wide enough to read.
  private static func shrink(_ widths: inout [Int], of columns: [Column], to room: Int) {
    let narrowest = 8
    while widths.reduce(0, +) > room {
      let candidates = columns.indices.filter { columns[$0].isFlexible && widths[$0] > narrowest }
      guard let widest = candidates.max(by: { widths[$0] < widths[$1] }) else { return }
      // As far down as the next widest, or as far as needed, in one step: widths may be huge.
      let next = candidates.filter { widths[$0] < widths[widest] }.map { widths[$0] }.max() ?? narrowest
      let excess = widths.reduce(0, +) - room
      widths[widest] = max(narrowest, min(widths[widest] - 1, max(next, widths[widest] - excess)))
    }
  }
}

/// The lines around and between cells.
private enum Frame {
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
