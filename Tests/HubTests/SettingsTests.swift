import Files
import Foundation
import Hub
import Testing

/// What the environment says of the hub, as huggingface_hub reads it.
@Suite struct SettingsTests {
  private func settings(_ variables: [String: String]) -> HubSettings { HubSettings(environment(variables)) }

  @Test func placesOfTheCache() {
    let home = ["HOME": "/home/me"]
    func cache(_ variables: [String: String]) -> String? {
      settings(home.merging(variables) { _, new in new }).cacheDirectory
    }
    #expect(cache([:]) == "/home/me/.cache/huggingface/hub")
    #expect(cache(["XDG_CACHE_HOME": "/cache"]) == "/cache/huggingface/hub")
    #expect(cache(["HF_HOME": "/hf"]) == "/hf/hub")
    #expect(cache(["HF_HOME": "~/hf"]) == "/home/me/hf/hub")
    #expect(cache(["HF_HOME": "/hf", "HF_HUB_CACHE": "/models"]) == "/models")
    #expect(cache(["HUGGINGFACE_HUB_CACHE": "/old"]) == "/old")
    #expect(settings([:]).cacheDirectory == nil)
  }

  @Test func theHubAndWhetherItIsAsked() {
    #expect(settings([:]).endpoint == "https://huggingface.co")
    #expect(settings(["HF_ENDPOINT": "https://hub.example/hf//"]).endpoint == "https://hub.example/hf")
    #expect(settings(["HF_ENDPOINT": ""]).endpoint == "https://huggingface.co")
    for value in ["1", "ON", "yes", "True"] { #expect(settings(["HF_HUB_OFFLINE": value]).isOffline) }
    for value in ["0", "", "no", "2"] { #expect(!settings(["HF_HUB_OFFLINE": value]).isOffline) }
    #expect(settings(["TRANSFORMERS_OFFLINE": "1"]).isOffline)
  }

  @Test func theTokenComesFromTheEnvironmentOrItsFile() throws {
    let scratch = try Scratch()
    let file = try scratch.write("token", " hf_file\n")
    func token(_ variables: [String: String]) throws -> HubToken? {
      try settings(["HF_TOKEN_PATH": file].merging(variables) { _, new in new }).token()
    }
    #expect(try token([:]) == HubToken("hf_file"))
    #expect(try token(["HF_TOKEN": "hf_a\n"]) == HubToken("hf_a"))
    #expect(try token(["HUGGING_FACE_HUB_TOKEN": "hf_old"]) == HubToken("hf_old"))
    #expect(try token(["HF_TOKEN": " "]) == HubToken("hf_file"))
    #expect(try token(["HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"]) == nil)
    #expect(try token(["HF_TOKEN_PATH": scratch.at("none")]) == nil)
    #expect(try settings(["HF_HOME": scratch.path]).token() == HubToken("hf_file"))
    #expect(try settings([:]).token() == nil)
  }

  @Test func noTokenIsEverPrinted() throws {
    let token = try HubToken("hf_secret")
    var dumped = ""
    dump(token, to: &dumped)
    for text in ["\(token)", String(reflecting: token), dumped, "\([token])"] { #expect(!text.contains("secret")) }
    #expect(token.removed(from: "Bearer hf_secret, hf_secret") == "Bearer …, …")
    for text in ["", "  ", "hf secret", "hf_secret\r\nX-Header: 1", "hf_sécret", String(repeating: "s", count: 5000)] {
      let said = try #require(message { _ = try HubToken(text) })
      #expect(!said.contains("secret") && !said.contains("sss"))
    }
    let said = try #require(message { _ = try settings(["HF_TOKEN": "hf secret"]).token() })
    #expect(said.contains("HF_TOKEN") && !said.contains("secret"))
  }

  @Test func aSavedTokenIsForTheUserAlone() throws {
    let scratch = try Scratch()
    let login = Login(settings(["HF_HOME": scratch.at("hf")]))
    let path = try login.save(HubToken("hf_a"))
    #expect(path == scratch.at("hf/token"))
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "hf_a")
    let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    #expect(mode.map { $0 & 0o077 } == 0)
    let offline = Login(settings(["HF_HOME": scratch.path, "HF_HUB_OFFLINE": "1"]))
    #expect(try #require(message { _ = try offline.user(of: HubToken("hf_a")) }).contains("HF_HUB_OFFLINE"))
  }
}
