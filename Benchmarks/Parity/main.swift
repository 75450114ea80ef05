import Execution
import Foundation
import Minitron
import Models
import Torch

// Whether another device computes what the CPU does: hidden states, logits, importances and what they keep.
//
// Usage: parity MODEL [--device cuda|cuda:N|mps|operators] [--dtype float32|bfloat16] [--rows N] [--seq-length N]
//
// `operators` is the CPU without Coppice's kernels, which is the code that other devices run. Prints one line for each
// quantity and exits 1 when one is out of tolerance: relative to the largest value 1e-4 (float32) or 3e-2 (bfloat16).

struct Options {
  var model = "", device = "cuda", dtype = DType.float32, rows = 8, length = 192
}

struct Found {
  var hidden: [Float] = []
  var logits: [Float] = []
  var scores = ImportanceScores()
}

func compute(_ model: SourceModel, _ options: Options, on device: Device) throws -> Found {
  let executor = Executor(model, dtype: options.dtype, device: device)
  let vocabulary = model.description.sizes[.vocabulary]
  // Learned positions end somewhere.
  let places = try model.description.positions.map { try model.tensor($0.name).shape[0] } ?? .max
  let length = min(options.length, places)
  let rows = (0..<options.rows).map { row in
    (0..<length).map { Int32(($0 * 7919 + row * 104_729) % vocabulary) }
  }
  let batches = TokenBatch.groups(rows, size: 2)
  let observer = ImportanceObserver(model.description, microBatch: 1)
  try executor.observe(batches, observer: observer)
  var found = Found()
  found.scores = try observer.scores()
  try executor.run(batches, subjects: [Selection(all: model.description)]) { _, _, hidden, head in
    let last = try hidden.select(dim: 1, index: length - 1)
    found.hidden += try last.floats()
    found.logits += try head.logits(last).floats()
  }
  return found
}

/// The largest difference, relative to the largest value.
func difference(_ a: [Float], _ b: [Float]) -> Double {
  guard a.count == b.count else { return .infinity }
  let largest = a.map(abs).max() ?? 0
  let worst = zip(a, b).reduce(Float(0)) { $1.0.isFinite && $1.1.isFinite ? max($0, abs($1.0 - $1.1)) : .infinity }
  return largest > 0 ? Double(worst / largest) : Double(worst)
}

func parse() -> Options? {
  var options = Options()
  var arguments = Array(CommandLine.arguments.dropFirst())
  while !arguments.isEmpty {
    let name = arguments.removeFirst()
    guard name.hasPrefix("--") else {
      options.model = name
      continue
    }
    guard let value = arguments.isEmpty ? nil : arguments.removeFirst() else { return nil }
    switch name {
    case "--device": options.device = value
    case "--dtype": options.dtype = value == "bfloat16" ? .bfloat16 : .float32
    case "--rows": options.rows = Int(value) ?? options.rows
    case "--seq-length": options.length = Int(value) ?? options.length
    default: return nil
    }
  }
  return options.model.isEmpty ? nil : options
}

LibTorch.prepare()
guard let options = parse() else {
  print("usage: parity MODEL [--device cuda|mps|operators] [--dtype float32|bfloat16] [--rows N] [--seq-length N]")
  exit(64)
}
let model = try SourceModel(directory: options.model)
let tolerance = options.dtype == .float32 ? 1e-4 : 3e-2
let expected = try compute(model, options, on: .cpu)
let device: Device
switch options.device {
case "operators":
  device = .cpu
  try Kernels.use("off")
case "mps": device = .mps
default: device = .cuda(options.device.split(separator: ":").dropFirst().first.flatMap { Int($0) } ?? 0)
}
guard device.isAvailable else {
  print("parity: there is no device \(options.device) here")
  exit(1)
}
let found = try compute(model, options, on: device)

var verdicts: [Bool] = []
func report(_ name: String, _ value: Double, within tolerance: Double) -> Bool {
  let isGood = value <= tolerance
  print("\(isGood ? "ok  " : "BAD ") \(name): differs by \(value) of the largest, \(tolerance) allowed")
  return isGood
}
verdicts.append(report("hidden states", difference(expected.hidden, found.hidden), within: tolerance))
verdicts.append(report("logits", difference(expected.logits, found.logits), within: tolerance))
verdicts.append(
  report(
    "importance of layers", difference(expected.scores.layers.map(Float.init), found.scores.layers.map(Float.init)),
    within: tolerance))
for (hyperparameter, lists) in expected.scores.lists {
  guard let scores = lists.everywhere else { continue }
  verdicts.append(
    report(
      "importance of \(hyperparameter.rawValue)",
      difference(scores, found.scores.lists[hyperparameter]?.everywhere ?? []),
      within: tolerance))
}
for (hyperparameter, scores) in expected.scores.lists {
  guard let lists = scores.byLayer else { continue }
  let other = found.scores.lists[hyperparameter]?.byLayer ?? []
  verdicts.append(
    report(
      "importance of \(hyperparameter.rawValue)", difference(lists.flatMap { $0 ?? [] }, other.flatMap { $0 ?? [] }),
      within: tolerance))
}
// Three quarters of everything: how much of what is kept is the same. Scores that are nearly equal may change places.
let description = model.description
for hyperparameter in description.hyperparameters {
  let groups = description.groups(of: hyperparameter)
  let kept = max(description.value(of: hyperparameter) * 3 / 4 / groups * groups, groups)
  let config = ExportConfig([(hyperparameter, kept)])
  func set(_ scores: ImportanceScores) throws -> Set<[Int]> {
    let selection = try scores.selection(for: config, of: description)
    let lists =
      hyperparameter.dimension.flatMap { selection.cuts[$0] }.map { $0.byLayer ?? [$0.everywhere] } ?? [
        selection.layers
      ]
    return Set(lists.enumerated().flatMap { layer, list in (list ?? []).map { [layer, $0] } })
  }
  let (own, other) = (try set(expected.scores), try set(found.scores))
  let same = Double(own.intersection(other).count) / Double(max(own.count, 1))
  let isGood = same >= (options.dtype == .float32 ? 0.999 : 0.97)
  verdicts.append(isGood)
  print("\(isGood ? "ok  " : "BAD ") kept of \(hyperparameter.rawValue): \(same * 100)% the same")
}
exit(verdicts.contains(false) ? 1 : 0)
