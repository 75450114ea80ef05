import Files
import Hub
import Testing

/// Names, revisions, paths and addresses: what is taken for one, and what is not.
@Suite struct NameTests {
  @Test(arguments: ["Qwen/Qwen3-8B", "gpt2", "a/b.c_d-e", "01-ai/Yi-6B", "x/y.", "A/B"])
  func namesOfTheHub(_ name: String) {
    // huggingface_hub takes a point at the end for no name.
    #expect(Repository.isName(name) == !name.hasSuffix("."))
  }

  @Test(arguments: [
    "", "/", "a/", "/a", "a/b/c", "a b/c", "../x", "a/..", "a--b/c", "a/b.git", "a/b..c", "-a/b", "a/.b", "a/b-", "ä/b",
    "a/b\n", "a\\b", "a/b?c", "a/b#c", "a%2Fb", "~/model", "datasets:a/b", String(repeating: "a", count: 97),
  ])
  func otherTextsAreNone(_ text: String) {
    #expect(!Repository.isName(text))
    #expect(throws: HubError.self) { try Repository(text) }
  }

  @Test func foldersOfTheCacheAreThoseOfHuggingfaceHub() throws {
    #expect(try Repository("Qwen/Qwen3-8B").folder == "models--Qwen--Qwen3-8B")
    #expect(try Repository("cais/mmlu", .dataset).folder == "datasets--cais--mmlu")
    #expect(try Repository("gpt2").folder == "models--gpt2")
    for name in ["Qwen/Qwen3-8B", "gpt2", "a-b/c_d.e"] {
      for kind in RepositoryKind.allCases {
        let repository = try Repository(name, kind)
        #expect(Repository(folder: repository.folder) == repository)
      }
    }
    for folder in ["models", "models--", "models--..--x", "spaces--a--b", "version.txt", ".locks"] {
      #expect(Repository(folder: folder) == nil)
    }
  }

  @Test func revisionsAreBranchesTagsAndCommits() throws {
    for name in ["main", "v1.0", "refs/pr/3", "refs/convert/parquet", "feature/x", String(repeating: "a", count: 40)] {
      #expect(try Revision(name).name == name)
    }
    #expect(try Revision(String(repeating: "0", count: 40)).isCommit)
    #expect(try !Revision(String(repeating: "0", count: 39)).isCommit)
    for text in [
      "", "..", "a/../b", "/main", "main/", "a//b", "a\u{0}b", "a\nb", "a\\b", String(repeating: "a", count: 256),
    ] {
      #expect(throws: HubError.self) { try Revision(text) }
    }
  }

  @Test func pathsThatLeadElsewhereAreNone() {
    for path in ["config.json", "a/b/c.txt", "…/x", "a b", ".gitattributes", "a..b"] { #expect(isSafePath(path)) }
    for path in [
      "", "/etc/passwd", "../x", "a/../../b", "a/..", ".", "./a", "a//b", "a/", "a\\..\\b", "a\u{0}", "a\nb", "\u{7F}",
      String(repeating: "a", count: 256), String(repeating: "a/", count: 600) + "a",
    ] { #expect(!isSafePath(path), "\(path.debugDescription)") }
  }

  @Test func addressesKeepWhatIsSpecialOut() {
    #expect(escaped("a/b c?d#e%f&ü") == "a/b%20c%3Fd%23e%25f%26%C3%BC")
    #expect(escaped("refs/pr/1", keepsSlashes: false) == "refs%2Fpr%2F1")
  }

  @Test func originsAreSchemeHostAndPort() throws {
    func origin(_ url: String) throws -> Origin { try #require(Origin(url)) }
    #expect(try origin("https://Huggingface.co/x") == origin("https://huggingface.co:443/y?z"))
    #expect(try origin("http://a/") != origin("https://a/"))
    #expect(try origin("http://a:8080") != origin("http://a"))
    // What stands before an @ is no host.
    #expect(try origin("https://huggingface.co@evil.example/").host == "evil.example")
    #expect(try origin("https://evil.example\\@huggingface.co/").host == "evil.example")
    #expect(try origin("http://[::1]:8080/x").port == "8080")
    #expect(try origin("http://169.254.169.254/latest").isLinkLocal)
    for text in ["", "huggingface.co", "file:///etc/passwd", "ftp://a/", "https://", "gopher://x"] {
      #expect(Origin(text) == nil)
    }
  }
}
