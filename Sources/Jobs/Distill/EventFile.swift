import Files
import Foundation

/// Numbers as TensorBoard reads them: records of TensorFlow's `Event` messages, each with checksums of its length and of itself.
///
/// Source of the layout: `tensorboard/compat/proto/event.proto` and `summary.proto`, TensorFlow's `record_writer.cc`.
struct EventFile {
  private let path: String

  /// A new file in a directory.
  ///
  /// - Parameter time: seconds since 1970.
  init(directory: String, time: Double = Date().timeIntervalSince1970) throws {
    try makeDirectories(directory)
    path = directory + "/events.out.tfevents.\(Int(time)).coppice.\(getpid())"
    try AtomicFile.write(Self.record(Self.double(1, time) + Self.bytes(3, Array("brain.Event:2".utf8))), to: path)
  }

  /// Adds numbers of one step.
  func add(_ values: [(name: String, value: Double)], step: Int, time: Double = Date().timeIntervalSince1970) throws {
    let summary = values.flatMap { name, value in
      Self.bytes(1, Self.bytes(1, Array(name.utf8)) + Self.float(2, Float(value)))
    }
    let event = Self.double(1, time) + Self.varint(2 << 3) + Self.varint(UInt64(step)) + Self.bytes(5, summary)
    guard let file = FileHandle(forWritingAtPath: path) else { throw systemError("write", path) }
    defer { try? file.close() }
    try file.seekToEnd()
    try file.write(contentsOf: Data(Self.record(event)))
  }

  // MARK: Protocol buffers

  private static func varint(_ value: UInt64) -> [UInt8] {
    var (rest, bytes) = (value, [UInt8]())
    while rest > 0x7f {
      bytes.append(UInt8(rest & 0x7f) | 0x80)
      rest >>= 7
    }
    return bytes + [UInt8(rest)]
  }

  private static func bytes(_ field: UInt64, _ value: [UInt8]) -> [UInt8] {
    varint(field << 3 | 2) + varint(UInt64(value.count)) + value
  }

  private static func double(_ field: UInt64, _ value: Double) -> [UInt8] {
    varint(field << 3 | 1) + littleEndian(value.bitPattern)
  }

  private static func float(_ field: UInt64, _ value: Float) -> [UInt8] {
    varint(field << 3 | 5) + littleEndian(value.bitPattern)
  }

  private static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
    withUnsafeBytes(of: value.littleEndian) { Array($0) }
  }

  // MARK: Records

  private static func record(_ event: [UInt8]) -> [UInt8] {
    let length = littleEndian(UInt64(event.count))
    return length + littleEndian(masked(length)) + event + littleEndian(masked(event))
  }

  private static func masked(_ bytes: [UInt8]) -> UInt32 {
    let sum = checksum(bytes)
    return (sum >> 15 | sum << 17) &+ 0xa282_ead8
  }

  /// CRC-32C (Castagnoli).
  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~UInt32(0)) { sum, byte in
      (0..<8).reduce(sum ^ UInt32(byte)) { sum, _ in sum >> 1 ^ (sum & 1 == 0 ? 0 : 0x82f6_3b78) }
    }
  }
}
