public import Foundation
internal import JSON

/// The line protocol of `coppice encode` and `coppice decode`: one JSON value per line in, one per line out.
/// Every answer is written before the next line is waited for.
public enum TokenizerLines {
  /// Answers every line, a JSON string, with the list of its ids.
  ///
  /// - Throws: `TokenizerError` naming the line, when a line is not a JSON string or cannot be encoded.
  public static func encode(
    _ tokenizer: Tokenizer, addSpecialTokens: Bool = true, from input: FileHandle = .standardInput,
    to output: FileHandle = .standardOutput
  ) throws {
    try run(from: input, to: output) { value in
      guard let text = value.text else { throw TokenizerError("expected a JSON string, found \(value.kind)") }
      let ids = try tokenizer.encode(utf8: text.utf8, addSpecialTokens: addSpecialTokens)
      return .array(ids.map(JSON.int))
    }
  }

  /// Answers every line, a JSON list of ids, with the string they stand for.
  ///
  /// - Throws: `TokenizerError` naming the line, when a line is not a list of known ids.
  public static func decode(
    _ tokenizer: Tokenizer, skipSpecialTokens: Bool = false, from input: FileHandle = .standardInput,
    to output: FileHandle = .standardOutput
  ) throws {
    try run(from: input, to: output) { value in
      guard let items = value.array else { throw TokenizerError("expected a JSON list of ids, found \(value.kind)") }
      let ids = try items.map { item in
        guard let id = item.int else { throw TokenizerError("expected ids, found \(Field.spell(item))") }
        return id
      }
      return .text(try tokenizer.decode(ids, skipSpecialTokens: skipSpecialTokens))
    }
  }

  private static func run(
    from input: FileHandle, to output: FileHandle, _ answer: (JSON) throws -> JSON
  ) throws {
    var number = 0
    var waiting: [UInt8] = []
    func reply(_ line: ArraySlice<UInt8>) throws -> [UInt8] {
      number += 1
      do {
        return Array(try answer(JSON(parsing: line)).serialized().utf8) + [0x0A]
      } catch { throw TokenizerError("line \(number) of the input: \(error)") }
    }
    while true {
      let chunk = try available(input)
      if chunk.isEmpty { break }
      waiting.append(contentsOf: chunk)
      var start = 0
      var out: [UInt8] = []
      do {
        while let end = waiting[start...].firstIndex(of: 0x0A) {
          out += try reply(waiting[start..<end])
          start = end + 1
        }
      } catch {
        try write(out, to: output)
        throw error
      }
      try write(out, to: output)
      waiting.removeFirst(start)
    }
    if !waiting.isEmpty { try write(reply(waiting[...]), to: output) }
  }

  /// Bytes that are there, waiting for the first; none at the end. (`FileHandle.availableData` traps where reading
  /// fails: on a directory, on a closed descriptor.)
  private static func available(_ input: FileHandle) throws -> [UInt8] {
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 16) { buffer, filled in
      repeat { count = read(input.fileDescriptor, buffer.baseAddress, buffer.count) } while count < 0 && errno == EINTR
      filled = max(count, 0)
    }
    guard count >= 0 else { throw TokenizerError("the input cannot be read: \(String(cString: strerror(errno)))") }
    return bytes
  }

  private static func write(_ bytes: [UInt8], to output: FileHandle) throws {
    do { try output.write(contentsOf: bytes) } catch {
      throw TokenizerError("the output cannot be written: \(error.localizedDescription)")
    }
  }
}
