import Execution
import Foundation
import Minitron
import Models
import Torch

// What taps cost, and how near the walk comes to this machine's matrix products: the walk with all taps, the plain walk and
// products of the same shapes, in turn in one process. Medians, as one line of JSON.
//
// Usage: walk-bench MODEL [--rows N] [--seq-length N] [--repeats N] [--band LAYERS]

func seconds(_ body: () throws -> Void) rethrows -> Double {
  let passed = try ContinuousClock().measure(body).components
  return Double(passed.seconds) + Double(passed.attoseconds) / 1e18
}

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

struct Shape {
  var rows = 16, length = 512, repeats = 5
  var model = ""
  var bands = BandRule.automatic
}

struct Product {
  let x: Tensor, weight: Tensor, packed: Tensor
  var operations: Double { 2 * Double(x.shape[0] * weight.shape[0] * weight.shape[1]) }
}

/// GFLOP/s of the quickest.
func best(_ products: [Product], packed: Bool) throws -> Double {
  var best = 0.0
  for product in products {
    for _ in 0..<7 {
      let time = try seconds { _ = try product.x.linear(weight: packed ? product.packed : product.weight) }
      best = max(best, product.operations / time / 1e9)
    }
  }
  return best
}

var shape = Shape()
LibTorch.prepare()
var arguments = Array(CommandLine.arguments.dropFirst())
while !arguments.isEmpty {
  let argument = arguments.removeFirst()
  let number = arguments.first.flatMap { Int($0) }
  switch argument {
  case "--rows": shape.rows = number ?? shape.rows
  case "--seq-length": shape.length = number ?? shape.length
  case "--band": shape.bands = number.map { .layers($0) } ?? .automatic
  case "--repeats": shape.repeats = max(number ?? 1, 1)
  default:
    shape.model = argument
    continue
  }
  if !arguments.isEmpty { arguments.removeFirst() }
}

let model = try SourceModel(directory: shape.model)
let description = model.description
let dtype = model.storedType == .bfloat16 && Processor.multipliesBFloat16 ? DType.bfloat16 : .float32
let executor = Executor(model, dtype: dtype, bands: shape.bands)
let vocabulary = description.sizes[.vocabulary]
let rows = (0..<shape.rows).map { row in
  (0..<shape.length).map { Int32(($0 * 7919 + row * 104_729) % vocabulary) }
}
let batches = TokenBatch.packed(
  TokenBatch.groups(rows, size: 1), tokens: description.tokensAtOnce(elementSize: dtype.byteCount, device: .cpu))
let whole = Selection(all: description)
let tokens = shape.rows * shape.length

let weights = description.layers.flatMap(\.weights).filter(\.isProjection).map { $0.shape(description.sizes) }
let products = try Set(weights).map { weight in
  let x = try Tensor.randn([batches[0].rows.count * shape.length, weight[1]]).to(dtype)
  let matrix = try Tensor.randn([weight[0], weight[1]]).to(dtype)
  return Product(x: x, weight: matrix, packed: try matrix.packedForLinear(rows: x.shape[0]))
}

var times: (tapped: [Double], plain: [Double]) = ([], [])
var ceilings: (plain: [Double], packed: [Double]) = ([], [])
for round in 0...shape.repeats {
  let observer = ImportanceObserver(description, microBatch: 1)
  let tapped = try seconds { try executor.observe(batches, observer: observer) }
  let plain = try seconds { try executor.run(batches, subjects: [whole]) { _, _, _, _ in } }
  if round == 0 { continue }
  times.tapped.append(tapped)
  times.plain.append(plain)
  ceilings.plain.append(try best(products, packed: false))
  ceilings.packed.append(try best(products, packed: true))
}

let sizes = description.sizes
let elements = weights.reduce(0) { $0 + $1[0] * $1[1] }
let attention = description.layers.count * sizes[.heads] * sizes[.headDim] * (shape.length + 1)
let operations = Double(2 * elements + 2 * attention) * Double(tokens)
let taps = median(zip(times.tapped, times.plain).map { $0 / $1 - 1 })
let useful = operations / median(times.tapped) / 1e9
print(
  """
  {"tokens": \(tokens), "tapped_seconds": \(median(times.tapped)), "plain_seconds": \(median(times.plain)), \
  "taps_cost": \(taps), "tokens_per_second": \(Double(tokens) / median(times.tapped)), "useful_gflops": \(useful), \
  "products_gflops": \(median(ceilings.plain)), "packed_products_gflops": \(median(ceilings.packed)), \
  "share_of_products": \(useful / median(ceilings.plain)), "share_of_packed": \(useful / median(ceilings.packed))}
  """)
