import Execution
import JSON
import Models
import Torch

// Blocks against the matrix products they contain: the Mamba-2 scan and the routed experts. Medians of alternating
// runs on an idle machine. Usage: block-bench [--repeats N]

func seconds(_ body: () throws -> Void) rethrows -> Double {
  let clock = ContinuousClock()
  let passed = try clock.measure(body).components
  return Double(passed.seconds) + Double(passed.attoseconds) / 1e18
}

/// Medians of both, run in turn.
func medians(
  _ repeats: Int, before: () throws -> Void, _ a: () throws -> Void, _ b: () throws -> Void
) rethrows -> (Double, Double) {
  var times: (a: [Double], b: [Double]) = ([], [])
  for round in 0...repeats {
    try before()
    let (first, second) = (try seconds(a), try seconds(b))
    if round == 0 { continue }
    times.a.append(first)
    times.b.append(second)
  }
  return (times.a.sorted()[repeats / 2], times.b.sorted()[repeats / 2])
}

func text(_ value: Double) -> String { "\((value * 100).rounded() / 100)" }

/// One row of `tokens` through the scan, and through the products a scan of this shape is made of.
func scan(_ name: String, heads: Int, width: Int, groups: Int, state size: Int, repeats: Int) throws {
  var times: [Int: Double] = [:]
  for tokens in [2048, 8192] {
    func random(_ shape: [Int], scale: Double = 1) throws -> Tensor {
      try Tensor.randn(shape, dtype: .float32).multiplied(by: scale)
    }
    let decay = try random([heads]).abs().negated()
    let scan = try StateSpaceScan(decay: decay, skip: random([heads]))
    let (x, step) = (try random([tokens, heads, width]), try random([tokens, heads]).softplus().multiplied(by: 0.01))
    let (b, c) = (try random([tokens, groups, size], scale: 0.1), try random([tokens, groups, size], scale: 0.1))
    let length = StateSpaceScan.chunkLength
    let perGroup = heads / groups
    let (bs, cs) = (try random([groups, length, size]), try random([groups, length, size]))
    let (mixing, xs) = (try random([heads, length, length]), try random([heads, length, width]))
    let (held, put) = (try random([groups, size, perGroup * width]), try random([groups, length, perGroup * width]))
    let state = try StateSpaceScan.emptyState(groups: groups, size: size, heads: heads, headDim: width, device: .cpu)
    let work = try x.clone()
    let (whole, products) = try medians(repeats, before: { try work.copy(from: x) }) {
      _ = try scan(x: work, step: step, input: b, output: c, state: state)
    } _: {
      for _ in 0..<tokens / length {
        _ = try cs.matmul(bs.transpose(1, 2))
        _ = try mixing.matmul(xs)
        _ = try cs.matmul(held)
        _ = try bs.transpose(1, 2).matmul(put)
      }
    }
    times[tokens] = whole
    print(
      "scan, \(name), \(tokens) tokens: \(text(whole * 1e3)) ms, \(text(whole / products)) times its matrix products")
  }
  if let short = times[2048], let long = times[8192] {
    print("scan, \(name): 8192 tokens take \(text(long / short)) times 2048")
  }
}

/// 4,096 tokens through 64 experts of width 512, 8 a token, and through one dense product of the same work; weights in
/// the order that a walk over many tokens puts them into.
func experts(repeats: Int) throws {
  let config = try JSON(
    parsing: """
      {"model_type": "qwen3_moe", "hidden_size": 1024, "num_hidden_layers": 1, "num_attention_heads": 8,
      "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 512, "moe_intermediate_size": 512,
      "num_experts": 64, "num_experts_per_tok": 8, "norm_topk_prob": true, "vocab_size": 64, "decoder_sparse_step": 1}
      """)
  guard let object = config.object else { return }
  let model = try Families.describe(config: object, file: "bench")
  guard let block = model.layers.first?.sublayers.last?.block else { return }
  var tensors: [Weight: Tensor] = [:]
  var lists: [Weight: [Tensor]] = [:]
  func random(_ shape: [Int]) throws -> Tensor {
    try Tensor.randn(shape, dtype: .float32).multiplied(by: 0.03).to(.bfloat16)
  }
  for weight in block.weights {
    if weight.name.contains("{expert}") {
      lists[weight] = try (0..<64).map { _ in try random(Array(weight.shape(model.sizes).suffix(2))) }
    } else {
      tensors[weight] = try random(weight.shape(model.sizes))
    }
  }
  let tokens = 4096
  let weights = try LayerWeights(tensors, experts: lists).packed(rows: tokens, tokens: 1 << 20, blocks: [block])
  let x = try Tensor.randn([1, tokens, 1024], dtype: .float32).to(.bfloat16)
  let context = ForwardContext(lengths: [tokens], positions: Positions(count: tokens, dtype: .bfloat16))
  // 8 × 3 × 512 columns: the same floating-point work as the experts' three products.
  let dense = try random([8 * 3 * 512, 1024]).packedForLinear(rows: tokens)
  let (routed, product) = try medians(repeats, before: {}) {
    _ = try block.forward(x, weights: weights, context: context)
  } _: {
    _ = try x.linear(weight: dense)
  }
  let operations = 2.0 * Double(tokens) * 8 * 3 * 512 * 1024
  print(
    "experts: \(text(routed * 1e3)) ms, dense product \(text(product * 1e3)) ms (\(Int(operations / product / 1e9)) GFLOP/s): "
      + "\(Int((product / routed * 100).rounded()))% of its throughput")
}

LibTorch.prepare()
let arguments = CommandLine.arguments
let repeats = arguments.firstIndex(of: "--repeats").flatMap { Int(arguments[min($0 + 1, arguments.count - 1)]) } ?? 7
try LibTorch.load()
try scan("64 heads of 64, 8 groups, state 128", heads: 64, width: 64, groups: 8, state: 128, repeats: repeats)
try scan("128 heads of 80, 8 groups, state 128", heads: 128, width: 80, groups: 8, state: 128, repeats: repeats)
try experts(repeats: repeats)
