import Formatting

/// Rows of text in aligned columns: in a frame for a terminal, bare for a pipe.
public struct Table: Sendable {
  public enum Alignment: Sendable { case left, right }

  public struct Column: Sendable {
    public var title: String
    public var alignment: Alignment
    /// May be broken over several lines where the terminal is too narrow.
    public var isFlexible: Bool
    /// Left out on a terminal, and said once instead, where all rows have the same in it.
    public var isSharable: Bool
    /// Stands for the title where the terminal is too narrow for that.
    public var short: String

    public init(
      _ title: String, _ alignment: Alignment = .left, isFlexible: Bool = false, isSharable: Bool = false,
      short: String? = nil
    ) {
      self.title = title
      self.short = short ?? title
      self.alignment = alignment
      self.isFlexible = isFlexible
      self.isSharable = isSharable
    }
  }

  enum Line {
    case row(cells: [String], mark: String, highlighted: Bool)
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
  ///
  /// - Parameter mark: stands after the row where it is not highlighted.
  public mutating func add(_ cells: [String], mark: String = "", highlighted: Bool = false) {
    while columns.count < cells.count { columns.append(Column("")) }
    let mark = highlighted ? "*" : Width.printable(mark)
    lines.append(.row(cells: cells.map(Width.printable), mark: mark, highlighted: highlighted))
  }

  /// A rule between the rows so far and those to come.
  public mutating func addSectionBreak() { lines.append(.sectionBreak) }

  /// Prints for the far end: framed and fitted to its width on a terminal, bare columns elsewhere.
  public func render(for terminal: Terminal) -> String {
    render(width: terminal.isTTY ? terminal.width ?? 80 : nil, color: terminal.color)
  }

  /// Where the width does not suffice, headings are broken over several lines, then flexible columns are, and at last
  /// each row becomes a list of its cells.
  ///
  /// - Parameters:
  ///   - width: columns of the terminal; nil renders bare columns two spaces apart, as wide as they need to be.
  ///   - color: allow colours.
  /// - Returns: the table, ending in a newline; nothing for a table of no columns.
  public func render(width: Int?, color: Bool) -> String {
    if columns.isEmpty { return "" }
    var grid = Grid(columns, lines)
    var text = title.map { Self.heading($0, width, color) } ?? ""
    if width != nil {
      let shared = grid.removeShared()
      if !shared.isEmpty {
        let sentence = "The same everywhere: " + shared.map { "\($0.title) \($0.cell)" }.joined(separator: ", ")
        text += width.map { Width.lines(sentence, to: $0) + "\n" } ?? ""
      }
    }
    grid.addMarks()
    guard let widths = grid.fit(within: width) else {
      return text + grid.records(width: width ?? 80, color: color)
    }
    return text + grid.framed(widths, width == nil ? .bare : .boxed, color: color)
  }

  private static func heading(_ title: String, _ width: Int?, _ color: Bool) -> String {
    let title = Width.printable(title)
    let lines = width.map { Width.lines(title, to: $0) } ?? title
    return lines.split(separator: "\n", omittingEmptySubsequences: false)
      .map { Style.bold.paint(String($0), color: color) + "\n" }.joined()
  }
}
