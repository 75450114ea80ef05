import JSON
import Models
import Testing

@Suite struct ConfigReaderTests {
  private func reader(_ text: String) throws -> ConfigReader {
    ConfigReader(try JSON(parsing: text).object ?? JSON.Object(), file: "config.json")
  }

  @Test(arguments: ["{}", #"{"x": null}"#, #"{"x": {}}"#])
  func nullAndEmptyObjectsAreAbsent(_ text: String) throws {
    let config = try reader(text)
    #expect(!config.has("x"))
    #expect(try config.section("x") == nil)
    #expect(try config.optionalSize("x") == nil)
    #expect(try config.number("x", default: 2) == 2)
    #expect(throws: ModelError.self) { try config.size("x") }
  }

  @Test(arguments: ["NaN", "Infinity", "-Infinity", "1e999"])
  func numbersMustBeFinite(_ number: String) throws {
    let config = try reader(#"{"x": \#(number)}"#)
    #expect(config.has("x"))
    #expect(throws: ModelError.self) { try config.number("x") }
    #expect(throws: ModelError.self) { try config.size("x") }
  }
}
