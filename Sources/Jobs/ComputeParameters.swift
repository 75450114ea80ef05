public import Execution
import Foundation
public import Messages
public import Models
public import Torch

/// How a run computes. In JSON its fields have the names of the command line's flags.
public struct ComputeParameters: Codable, Sendable, Equatable {
  public enum ComputeType: String, Codable, Sendable, CaseIterable { case auto, float32, bfloat16 }

  /// The type computed with; auto: the quickest on this processor that holds the checkpoint's values.
  public var computeType = ComputeType.auto
  public var device = DeviceChoice.auto
  /// Memory for hidden states; nil: 60% of what is free.
  public var memoryBudget: ByteCount?
  /// Stages of a pipeline, where several processes do a run together.
  public var stages = 1
  /// Layers of the first and of the last stage; nil to divide them evenly.
  public var firstStageLayers: Int?
  public var lastStageLayers: Int?

  public init() {}

  private enum CodingKeys: String, CodingKey {
    case computeType = "compute_dtype"
    case device
    case memoryBudget = "memory_budget"
    case stages = "pp_size"
    case firstStageLayers = "num_layers_in_first_pipeline_stage"
    case lastStageLayers = "num_layers_in_last_pipeline_stage"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    computeType = try values.decodeIfPresent(ComputeType.self, forKey: .computeType) ?? computeType
    device = try values.decodeIfPresent(DeviceChoice.self, forKey: .device) ?? device
    memoryBudget = try values.decodeIfPresent(ByteCount.self, forKey: .memoryBudget)
    stages = try values.decodeIfPresent(Int.self, forKey: .stages) ?? stages
    firstStageLayers = try values.decodeIfPresent(Int.self, forKey: .firstStageLayers)
    lastStageLayers = try values.decodeIfPresent(Int.self, forKey: .lastStageLayers)
  }

  mutating func divide(stages: Int, first: Int? = nil, last: Int? = nil) {
    (self.stages, firstStageLayers, lastStageLayers) = (stages, first, last)
  }

  /// The type computed with; by default the quickest here that holds the checkpoint's values. float16 has too small a
  /// range for sums: float32 then. bfloat16 is slower than float32 on processors that do not multiply it.
  ///
  /// - Throws: `RunError` when the device is not there.
  public func dtype(for model: SourceModel) throws -> DType {
    switch computeType {
    case .float32: return .float32
    case .bfloat16: return .bfloat16
    case .auto:
      guard model.storedType == .bfloat16 else { return .float32 }
      return try device.place() != .cpu || Processor.multipliesBFloat16 ? .bfloat16 : .float32
    }
  }

  /// What to say to those whose run would be several times faster in another type, or who may wonder why it is in this
  /// one; nil to others.
  ///
  /// - Throws: `RunError` when the device is not there.
  public func typeHint(for model: SourceModel) throws -> Message? {
    let obstacle = try device.place() == .cpu ? Processor.bfloat16Obstacle : nil
    switch (computeType, obstacle) {
    case (.bfloat16, let obstacle?):
      return """
        \(obstacle), and bfloat16 is slow then: \(parameter: "compute_dtype") float32 is several times faster and more exact
        """
    case (.auto, let obstacle?) where model.storedType == .bfloat16:
      return "the checkpoint is stored as BF16 and computed in float32, which is quicker here: \(obstacle)"
    case (.auto, nil) where model.storedType != .bfloat16:
      return """
        the checkpoint is stored as \(model.storedType.rawValue), hence float32; \(parameter: "compute_dtype") bfloat16 is \
        several times faster on this machine
        """
    default: return nil
    }
  }

  /// Bytes of hidden states in memory.
  public var budget: Int { memoryBudget?.bytes ?? MemoryBudget.automatic() }

  /// - Parameters:
  ///   - scratch: where hidden states beyond the budget go; nil for the system's temporary directory.
  ///   - localRank: of this process among those of its machine.
  /// - Throws: `RunError` when the device is not there.
  public func executor(_ model: SourceModel, scratch: String? = nil, localRank: Int = 0) throws -> Executor {
    Executor(
      model, dtype: try dtype(for: model), device: try device.place(localRank: localRank), budget: budget,
      scratch: scratch)
  }
}

/// The device to compute on, in PyTorch's spelling: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` is a GPU where there is one.
public struct DeviceChoice: WrittenValue {
  public let text: String

  public static let auto = DeviceChoice(unchecked: "auto")
  public static let cpu = DeviceChoice(unchecked: "cpu")

  private init(unchecked text: String) { self.text = text }

  public init(_ text: String) throws {
    guard text.wholeMatch(of: /auto|cpu|mps|cuda(:[0-9]+)?/) != nil else {
      throw Predicate("is \"\(text)\"; it can be auto, cpu, cuda, cuda:0 and so on, or mps")
    }
    self.text = text
  }

  /// Processes of a machine that compute on one device, at most.
  ///
  /// - Parameters:
  ///   - local: processes of the machine.
  ///   - devices: GPUs that the machine has.
  package func processes(on device: Device, of local: Int, devices: Int = LibTorch.environment().cudaDevices) -> Int {
    let isOneForAll = device == .cpu || text.contains(":")
    return isOneForAll ? local : (local + max(devices, 1) - 1) / max(devices, 1)
  }

  /// The device computed on.
  ///
  /// - Parameter localRank: of this process among those of its machine: without a number, each has a GPU of its own while there
  ///   are enough.
  /// - Throws: `RunError` when it is not there.
  public func place(localRank: Int = 0) throws -> Device {
    func next() -> Device { .cuda(localRank % max(LibTorch.environment().cudaDevices, 1)) }
    let place: Device
    switch text {
    case "auto":
      // Asking libtorch would mean to wait for it, which is still being opened: without a driver's files there is no GPU.
      let files = ["/dev/nvidiactl", "/dev/dxg"]
      return files.contains(where: FileManager.default.fileExists(atPath:)) && Device.cuda(0).isAvailable
        ? next() : .cpu
    case "cpu": return .cpu
    case "mps": place = .mps
    case "cuda": place = next()
    default: place = .cuda(text.split(separator: ":").dropFirst().first.flatMap { Int($0) } ?? 0)
    }
    guard place.isAvailable else {
      let reason = LibTorch.environment().cudaUnavailable.map { ": \($0)" } ?? ""
      throw RunError(
        """
        \(parameter: "device") \(text): there is no such device here\(place == .mps ? "" : reason); leave it out to \
        compute on the CPU
        """)
    }
    return place
  }
}
