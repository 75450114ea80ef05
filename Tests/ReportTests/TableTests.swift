import Formatting
import Report
import Testing

struct WidthTests {
  @Test(arguments: [
    ("", 0), ("abc", 3), ("é", 1), ("e\u{301}", 1), ("模型", 4), ("モデル", 6), ("한국", 4), ("🙂", 2), ("👩‍👩‍👧‍👦", 2), ("🇫🇷", 2),
    ("❤️", 2), ("❤", 1), ("ａ", 2), ("\u{200B}", 0), ("กำ", 2), ("हिन्दी", 5), ("\u{1112}\u{1161}\u{11AB}", 2), ("\u{301}", 0),
    ("–", 1), ("│", 1), ("\u{1B}", 0),
  ])
  func columnsOnATerminal(text: String, columns: Int) { #expect(Width.of(text) == columns) }

  @Test func printableTextStaysOnItsLine() {
    #expect(Width.printable("a\u{1B}[2Jb\nc\td\u{202E}e\u{9B}") == "a\u{FFFD}[2Jb c d\u{FFFD}e\u{FFFD}")
    #expect(Width.printable("Qwen3-8B 模型 👩‍👩‍👧‍👦") == "Qwen3-8B 模型 👩‍👩‍👧‍👦")
    #expect(Width.printable("\r\n") == "  ")
  }

  @Test func truncatesByColumns() {
    #expect(Width.truncate("abcdef", to: 6) == "abcdef")
    #expect(Width.truncate("abcdef", to: 5) == "abcd…")
    #expect(Width.truncate("模型模型", to: 6) == "模型…")
    #expect(Width.truncate("abc", to: 0) == "")
    #expect(Width.truncate("abc", to: -3) == "")
  }

  @Test func wrapsBetweenWordsAndWithinLongOnes() {
    #expect(Width.wrap("one two three", to: 7) == ["one two", "three"])
    #expect(Width.wrap("abcdefghij kl", to: 4) == ["abcd", "efgh", "ij", "kl"])
    #expect(Width.wrap("模型模型", to: 5) == ["模型", "模型"])
    #expect(Width.wrap("", to: 5) == [""])
    #expect(Width.wrap("abc", to: -1) == ["ab", "c"])
  }
}

struct TableTests {
  private func sample() -> Table {
    var table = Table(title: "Candidates", columns: [.init("model", isFlexible: true), .init("params", .right)])
    table.add(["a", "3.00M"])
    table.add(["模型", "12.1M"], highlighted: true)
    return table
  }

  @Test func aPipeGetsBareColumns() {
    #expect(
      sample().render(width: nil, color: false) == """
        Candidates
        model  params
        -----  ------  -
        a       3.00M
        模型    12.1M  *

        """)
  }

  @Test func aTerminalGetsAFrame() {
    #expect(
      sample().render(width: 80, color: false) == """
        Candidates
        ╭───────┬────────┬───╮
        │ model │ params │   │
        ├───────┼────────┼───┤
        │ a     │  3.00M │   │
        │ 模型  │  12.1M │ * │
        ╰───────┴────────┴───╯

        """)
  }

  @Test func onlyColourSetsEscapes() {
    #expect(!sample().render(width: 80, color: false).contains("\u{1B}"))
    let colored = sample().render(width: 80, color: true)
    #expect(colored.contains("\u{1B}[1;32m模型\u{1B}[0m"))
    // Colour changes nothing but the escapes.
    let plain = colored.replacing(#/\u{1B}\[[0-9;]*m/#, with: "")
    #expect(plain == sample().render(width: 80, color: false))
  }

  @Test func sectionsAndMissingCells() {
    var table = Table(columns: [.init("a"), .init("b")])
    table.add(["1"])
    table.addSectionBreak()
    table.add(["2", "3", "more"])
    #expect(
      table.render(width: nil, color: false) == """
        a  b
        -  -  ----
        1
        -  -  ----
        2  3  more

        """)
  }

  @Test(arguments: [40, 60, 79, 200]) func flexibleColumnsGiveWay(width: Int) {
    var table = Table(columns: [.init("name"), .init("what", isFlexible: true), .init("why", isFlexible: true)])
    let long = "words of several lengths and 漢字 in between, again and again, until the line is full"
    table.add(["x", long, long + " " + long])
    let lines = table.render(width: width, color: false).split(separator: "\n")
    #expect(lines.allSatisfy { Width.of(String($0)) == Width.of(String(lines[0])) }, "every line is as wide")
    #expect(Width.of(String(lines[0])) <= width)
    // No word is lost. A column is recognised by its place between the bars.
    let cells = lines.filter { $0.hasPrefix("│") }.dropFirst().map { $0.split(separator: "│")[1] }
    #expect(cells.joined(separator: " ").split(separator: " ").joined() == long.split(separator: " ").joined())
  }

  private func candidates() -> Table {
    var table = Table(
      title: "Candidates of a search",
      columns: [
        .init("#", .right), .init("num_layers", .right, isSharable: true),
        .init("ffn_hidden_size", .right, isSharable: true, short: "ffn"), .init("params", .right),
      ])
    table.add(["1", "8", "416", "2.91M"], highlighted: true)
    table.add(["2", "8", "384", "2.79M"], mark: "≈")
    table.add(["3", "8", "352", "2.67M"])
    return table
  }

  @Test func whatIsTheSameInAllRowsIsSaidOnce() {
    #expect(
      candidates().render(width: 44, color: false) == """
        Candidates of a search
        The same everywhere: num_layers 8
        ╭───┬─────────────────┬────────┬───╮
        │ # │ ffn_hidden_size │ params │   │
        ├───┼─────────────────┼────────┼───┤
        │ 1 │             416 │  2.91M │ * │
        │ 2 │             384 │  2.79M │ ≈ │
        │ 3 │             352 │  2.67M │   │
        ╰───┴─────────────────┴────────┴───╯

        """)
    // Columns that programs may read stay.
    #expect(candidates().render(width: nil, color: false).contains("num_layers"))
  }

  @Test func headingsAreStackedThenShortenedThenRowsBecomeLists() {
    let stacked = candidates().render(width: 28, color: false)
    #expect(stacked.contains("│ #"))
    #expect(stacked.contains("│    ffn_ │"))
    #expect(stacked.contains("│ hidden_ │") && stacked.contains("│    size │"))
    #expect(candidates().render(width: 24, color: false).contains("│ # │ ffn │ params │   │"))
    #expect(
      candidates().render(width: 20, color: false) == """
        Candidates of a
        search
        The same everywhere:
        num_layers 8
        #: 1
          ffn: 416
          params: 2.91M
          *
        #: 2
          ffn: 384
          params: 2.79M
          ≈
        #: 3
          ffn: 352
          params: 2.67M

        """)
  }

  @Test(arguments: 20...100) func noLineIsWiderThanTheTerminal(width: Int) {
    var table = candidates()
    table.add(["4", "7", String(repeating: "9", count: 12), "模型 2.91M"])
    for line in table.render(width: width, color: false).split(separator: "\n") {
      #expect(Width.of(String(line)) <= width)
    }
  }

  @Test func hostileCellsCannotLeaveTheirLine() {
    var table = Table(title: "t\n\u{1B}[2J", columns: [.init("a\nb")])
    table.add(["x\n\u{1B}]0;title\u{7}\r"])
    for width in [nil, 80, 3, 0, -5] as [Int?] {
      let text = table.render(width: width, color: false)
      #expect(!text.contains("\u{1B}") && !text.contains("\u{7}") && !text.contains("\r"))
    }
    #expect(table.render(width: nil, color: false).split(separator: "\n").count == 4)
  }

  @Test func anEmptyTableIsNothing() {
    #expect(Table(columns: []).render(width: 80, color: true) == "")
    #expect(Table(columns: [.init("a")]).render(width: nil, color: false) == "a\n-\n")
  }
}

struct NearestTests {
  private let flags = ["hidden_size", "ffn_hidden_size", "num_layers", "num_attention_heads", "top_k", "seed"]

  @Test(arguments: [
    ("hiden_size", "hidden_size"), ("hidden-size", "hidden_size"), ("NUM_LAYERS", "num_layers"),
    ("num_layres", "num_layers"), ("sede", "seed"), ("topk", "top_k"), ("hidden", "hidden_size"),
    ("ffn", "ffn_hidden_size"),
    ("num_atention_head", "num_attention_heads"),
  ])
  func suggests(word: String, name: String) { #expect(nearest(word, in: flags) == name) }

  @Test(arguments: ["", "x", "banana", "se", "kvcache_quantization", String(repeating: "hidden_size", count: 100_000)])
  func suggestsNothingFarAway(word: String) { #expect(nearest(word, in: flags) == nil) }

  @Test func firstOfEqualsAndEmptyLists() {
    #expect(nearest("cat", in: ["bat", "hat"]) == "bat")
    #expect(nearest("cat", in: []) == nil)
    #expect(nearest("cat", in: ["", "a"]) == nil)
  }
}
