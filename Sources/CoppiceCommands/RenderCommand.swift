public import ArgumentParser
import ChatTemplates
import Foundation
import Jobs

/// `coppice render`: one conversation per line in, the text that the chat template makes of it per line out. Needs no
/// libtorch.
public struct RenderCommand: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "render",
    abstract: "Render conversations by the chat template: a JSON object per line on standard input, a JSON string out.",
    discussion: """
      A line is an object such as {"messages": [{"role": "user", "content": "Hello"}], "add_generation_prompt": true}. \
      "tools" is a list of JSON schemas; any further member is a variable of the template. Lines that the template \
      refuses are answered with {"error": "why"}.
      """)

  @OptionGroup var model: ModelOptions

  public init() {}

  public func run() throws {
    var lines = ConversationLines(try ChatTemplate(directory: model.directory(.tokenizer)))
    var waiting: [UInt8] = []
    while let chunk = try Self.available() {
      waiting += chunk
      var (start, out) = (0, [UInt8]())
      while let end = waiting[start...].firstIndex(of: 0x0A) {
        out += Array(lines.answer(waiting[start..<end]).utf8) + [0x0A]
        start = end + 1
      }
      try Self.write(out)
      waiting.removeFirst(start)
    }
    if !waiting.isEmpty { try Self.write(Array(lines.answer(waiting).utf8) + [0x0A]) }
  }

  /// Bytes that are there, waiting for the first; nil at the end.
  private static func available() throws -> [UInt8]? {
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, filled in
      repeat { count = read(STDIN_FILENO, buffer.baseAddress, buffer.count) } while count < 0 && errno == EINTR
      filled = max(count, 0)
    }
    guard count >= 0 else { throw RunError("standard input cannot be read: \(String(cString: strerror(errno)))") }
    return count == 0 ? nil : bytes
  }

  private static func write(_ bytes: [UInt8]) throws {
    do { try FileHandle.standardOutput.write(contentsOf: bytes) } catch {
      throw RunError("standard output takes no more text: \(error.localizedDescription)")
    }
  }
}
