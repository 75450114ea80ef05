import Testing
import Torch

#if canImport(Glibc)
  import Glibc
#endif

func floats(_ values: [Float], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

func ints(_ values: [Int64], _ shape: [Int]? = nil) throws -> Tensor {
  try Tensor(values, shape: shape ?? [values.count])
}

/// Checks shape and elements, these within `tolerance`.
func expect(
  _ tensor: Tensor, _ shape: [Int], _ values: [Float], within tolerance: Float = 1e-6,
  sourceLocation: SourceLocation = #_sourceLocation
) throws {
  #expect(tensor.shape == shape, sourceLocation: sourceLocation)
  let found = try tensor.floats()
  let close =
    found.count == values.count
    && zip(found, values).allSatisfy { $0 == $1 || abs($0 - $1) <= tolerance || ($0.isNaN && $1.isNaN) }
  #expect(close, "found \(found), expected \(values)", sourceLocation: sourceLocation)
}

/// Checks that `body` throws a TorchError whose text contains `part`.
func expectError<R>(
  _ part: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> R
) {
  do {
    _ = try body()
    Issue.record("no error; expected one about \"\(part)\"", sourceLocation: sourceLocation)
  } catch let error as TorchError {
    #expect(error.description.contains(part), "\(error)", sourceLocation: sourceLocation)
    #expect(!error.message.contains("\n"), "\(error)", sourceLocation: sourceLocation)
  } catch {
    Issue.record("\(error)", sourceLocation: sourceLocation)
  }
}

/// Resident memory of this process in bytes.
func residentBytes() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { return 0 }
  defer { fclose(file) }
  var line = [CChar](repeating: 0, count: 256)
  guard fgets(&line, 256, file) != nil else { return 0 }
  let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  let fields = text.split(separator: " ")
  return fields.count > 1 ? (Int(fields[1]) ?? 0) * Int(getpagesize()) : 0
}
