import Formatting
import Report
import Testing

/// Names that want to be more than text.
struct MarkupTests {
  @Test func yamlScalars() {
    for plain in ["en", "apache-2.0", "Qwen/Qwen3-8B", "text-generation"] { #expect(YAML.scalar(plain) == plain) }
    for (text, quoted) in [
      ("no", #""no""#), ("True", #""True""#), ("", #""""#), ("1.0", #""1.0""#), ("-", #""-""#), ("a: b", #""a: b""#),
      ("a #b", #""a #b""#), ("say \"x\\\"", #""say \"x\\\"""#), ("a\nb: c", #""a\nb: c""#),
      ("\u{0}\u{85}", #""\u0000\u0085""#),
      ("\u{202E}x", #""\u202ex""#), ("模型", #""模型""#), ("~", #""~""#), ("*a", #""*a""#), ("---", #""---""#),
    ] {
      #expect(YAML.scalar(text) == quoted)
    }
  }

  @Test func markdownText() {
    #expect(Markdown.escaped("Qwen/Qwen3-8B") == "Qwen/Qwen3-8B")
    #expect(Markdown.escaped("a|b\n# c") == ##"a\|b \# c"##)
    #expect(Markdown.escaped("<b>[x](y)`*_") == #"\<b\>\[x\](y)\`\*\_"#)
    #expect(Markdown.fenced("a", language: "sh") == "```sh\na\n```\n")
    #expect(Markdown.fenced("a ```` b", language: "") == "`````\na ```` b\n`````\n")
    #expect(
      Markdown.table(["", "n"], rows: [["x", "1"]]) == """
        |  | n |
        | --- | ---: |
        | x | 1 |

        """)
  }

  @Test func shellWords() {
    for plain in ["--top_k", "3e6", "Qwen/Qwen3-8B", "a=b", "x-1.json"] { #expect(Shell.quoted(plain) == plain) }
    #expect(Shell.quoted("") == "''")
    #expect(Shell.quoted(#"{"a": 1}"#) == #"'{"a": 1}'"#)
    #expect(Shell.quoted("it's") == #"'it'\''s'"#)
    #expect(Shell.quoted("$(rm) `x` !") == "'$(rm) `x` !'")
    #expect(Shell.quoted("a\n'\\\u{7}") == #"$'a\n\'\\\x07'"#)
    #expect(Shell.quoted("é") == "'é'")
  }
}
