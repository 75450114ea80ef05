import Checkpoint
import Execution
import Foundation
import Models
import Torch
import Training

// Writes the gradients of a model's loss, to be held against those of PyTorch.
//
// Usage: gradients MODEL ROWS.json OUT [--teacher MODEL] [--temperature T] [--record] [--device cuda]
//
// ROWS.json holds a list of lists of tokens. OUT becomes a directory with model.safetensors, of the tensors' names in the
// checkpoint, and losses.json.

func run() throws {
  var arguments = Array(CommandLine.arguments.dropFirst())
  func option(_ name: String) -> String? {
    guard let at = arguments.firstIndex(of: name), at + 1 < arguments.count else { return nil }
    defer { arguments.removeSubrange(at...at + 1) }
    return arguments[at + 1]
  }
  let records = arguments.contains("--record")
  arguments.removeAll { $0 == "--record" }
  let teacherPath = option("--teacher")
  let temperature = option("--temperature").flatMap(Double.init) ?? 1
  let device = option("--device") == "cuda" ? Device.cuda(0) : .cpu
  guard arguments.count == 3 else {
    print("usage: gradients MODEL ROWS.json OUT [--teacher MODEL] [--temperature T] [--record] [--device cuda]")
    exit(64)
  }
  let model = try TrainedModel(SourceModel(directory: arguments[0]), dtype: .float32, device: device)
  let rows = try JSONDecoder().decode([[Int32]].self, from: Data(contentsOf: URL(fileURLWithPath: arguments[1])))
  let teacher = try teacherPath.map {
    Teacher(Executor(try SourceModel(directory: $0), dtype: .float32, device: device))
  }
  let loss = LossRule(
    divergence: teacher == nil ? 0 : 1, crossEntropy: teacher == nil ? 1 : 0, temperature: temperature)
  let trainer = try Trainer(
    model, teacher: teacher,
    rule: TrainingRule(
      loss: loss, rate: LearningRate(peak: 1, end: 1, warmup: 0, steps: 1), recomputes: !records))
  let sums = try trainer.gradients(rows.map { TrainingBatch(rows: [$0]) })

  let trained = model.parameters.filter { $0.hasGradient }
  try FileManager.default.createDirectory(atPath: arguments[2], withIntermediateDirectories: true)
  let stored = try trained.map { parameter -> (name: String, tensor: Tensor) in
    let gradient = try (parameter.gradient() ?? parameter.value()).to(device: .cpu)
    let turned = parameter.name.weight.isStoredTransposed ? try gradient.transpose(0, 1).contiguous() : gradient
    return (parameter.name.text, try turned.contiguous())
  }
  let writer = try CheckpointWriter(
    directory: arguments[2],
    tensors: stored.map { PlannedTensor(name: $0.name, type: .float32, shape: $0.tensor.shape) })
  for (name, tensor) in stored {
    try writer.write(name) { append in try tensor.withUnsafeBytes { try append($0) } }
  }
  try writer.finish()
  let found = "{\"divergence\": \(sums.divergence), \"cross_entropy\": \(sums.crossEntropy)}\n"
  try Data(found.utf8).write(to: URL(fileURLWithPath: arguments[2] + "/losses.json"))
}

LibTorch.prepare()
do { try run() } catch {
  FileHandle.standardError.write(Data("gradients: \(error)\n".utf8))
  exit(1)
}
