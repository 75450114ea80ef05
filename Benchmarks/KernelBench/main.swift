import Torch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

// The CPU kernels beside the libtorch operators that they stand for: medians and minima of alternating runs.
// Usage: kernel-bench [part of a name] [--repeats N] [--threads N] [--no-keep] (do not keep freed memory)

struct Case {
  let name: String
  /// Bytes that must move at least, or floating-point operations that are useful; what the ratio is printed in.
  var bytes = 0.0
  var operations = 0.0
  let ours: () throws -> Void
  let libtorch: () throws -> Void
}

func seconds() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

func measure(_ body: () throws -> Void) rethrows -> Double {
  let start = seconds()
  try body()
  return seconds() - start
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

func column(_ text: String, _ width: Int) -> String {
  text.count < width ? String(repeating: " ", count: width - text.count) + text : text
}

func number(_ value: Double) -> String {
  let scaled = (value * 100).rounded() / 100
  return value >= 100 ? "\(Int(value.rounded()))" : "\(scaled)"
}

func run(_ cases: [Case], repeats: Int) throws {
  print(
    "kernels \(try Kernels.name), \(try LibTorch.threads) threads, \(repeats) alternating runs; milliseconds: median (minimum)"
  )
  for item in cases {
    for _ in 0..<2 {
      try item.ours()
      try item.libtorch()
    }
    var ours: [Double] = []
    var theirs: [Double] = []
    for _ in 0..<repeats {
      ours.append(try measure(item.ours))
      theirs.append(try measure(item.libtorch))
    }
    let (fast, slow) = (median(ours), median(theirs))
    func milliseconds(_ values: [Double]) -> String {
      "\(number(median(values) * 1e3)) (\(number((values.min() ?? 0) * 1e3)))"
    }
    let rate =
      item.operations > 0
      ? "\(number(item.operations / fast * 1e-9)) GFLOP/s (libtorch \(number(item.operations / slow * 1e-9)))"
      : "\(number(item.bytes / fast * 1e-9)) GB/s"
    let name = item.name + String(repeating: " ", count: max(0, 44 - item.name.count))
    print(
      "\(name) \(column(milliseconds(ours), 16))  libtorch \(column(milliseconds(theirs), 16))  × \(column(number(slow / fast), 5))  \(rate)"
    )
  }
}

var filter = ""
var repeats = 15
LibTorch.prepare()
var arguments = Array(CommandLine.arguments.dropFirst())
while !arguments.isEmpty {
  let argument = arguments.removeFirst()
  switch argument {
  case "--repeats": repeats = arguments.isEmpty ? repeats : Int(arguments.removeFirst()) ?? repeats
  case "--no-keep": try LibTorch.keepMemory(0)
  case "--threads":
    if let count = arguments.isEmpty ? nil : Int(arguments.removeFirst()) { try LibTorch.setThreads(count) }
  default: filter = argument
  }
}
try run((try rowCases() + headCases()).filter { filter.isEmpty || $0.name.contains(filter) }, repeats: repeats)
