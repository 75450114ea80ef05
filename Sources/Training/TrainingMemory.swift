import Files
public import Models
public import Torch

/// What of a training is on disk because memory has no room for it: first AdamW's moments, then the float32 weights, then the layers'
/// gradients. It is read and written layer by layer, at most 16 million numbers of a kind at a time in a step of the optimizer.
public struct TrainingMemory {
  /// How many of these kinds are on disk.
  public enum Spill: Int, Sendable, CaseIterable {
    case nothing, moments, weights, gradients

    /// What is on disk.
    public var words: String {
      switch self {
      case .nothing: "none"
      case .moments: "AdamW's moments"
      case .weights: "AdamW's moments and the float32 weights"
      case .gradients: "AdamW's moments, the float32 weights and the layers' gradients"
      }
    }
  }

  public let spill: Spill
  private let file: ScratchFile?

  /// Everything in memory.
  public static var ample: TrainingMemory { TrainingMemory(spill: .nothing, file: nil) }

  private init(spill: Spill, file: ScratchFile?) { (self.spill, self.file) = (spill, file) }

  /// - Parameter directory: for what does not fit: it is in a file there that has no name.
  /// - Throws: `ModelError` when no file can be made there.
  public init(_ spill: Spill, directory: String) throws {
    self.spill = spill
    file =
      spill == .nothing
      ? nil
      : try ScratchFile(directory: directory, name: "coppice-training") { doing, reason in
        ModelError(
          """
          the training's weights, moments and gradients do not fit the memory, and \(directory) cannot hold what is left over \
          (\(doing): \(reason)); free some space there or raise the memory budget
          """)
      }
  }

  func places(inLayer: Bool) -> Parameter.Places {
    Parameter.Places(
      file: file, value: spill.rawValue >= Spill.weights.rawValue,
      // Those outside the layers change row by row.
      gradient: inLayer && spill.rawValue >= Spill.gradients.rawValue, moments: spill != .nothing)
  }

  /// Bytes that the weights of a student and what belongs to them take in memory.
  ///
  /// - Parameters:
  ///   - stage: the layers that this process trains, 0-based; nil for all.
  ///   - processes: that share the moments.
  public static func bytes(
    _ spill: Spill, _ model: ModelDescription, stage: Range<Int>? = nil, dtype: DType, processes: Int
  ) -> Int {
    let stage = stage ?? model.layers.indices
    func elements(_ weights: [Weight], inLayer layer: Int? = nil) -> Int {
      let sizes = model.sizes(inLayer: layer)
      return weights.reduce(0) { $0 + $1.elementCount(sizes) }
    }
    let layers = stage.map { elements(model.layers[$0].weights, inLayer: $0) }
    let (inner, outer) = (layers.reduce(0, +), elements(model.trainedOuterWeights(in: stage)))
    let isWide = dtype == .float32
    let moments = 8 * (inner + outer) / processes
    // Copies are float32 weights themselves where these are in memory.
    let copies = isWide ? 0 : dtype.byteCount * (inner + outer)
    switch spill {
    case .nothing: return 8 * (inner + outer) + copies + moments
    case .moments: return 8 * (inner + outer) + copies
    case .weights, .gradients:
      let read = isWide ? 4 * outer + 8 * (layers.max() ?? 0) : copies
      return read + 4 * outer + (spill == .weights ? 4 * inner : 8 * (layers.max() ?? 0))
    }
  }

  /// The least of it on disk with which the rest fits; all that can be where nothing does.
  ///
  /// - Parameter room: bytes.
  public static func fitting(
    _ model: ModelDescription, stage: Range<Int>? = nil, dtype: DType, processes: Int, room: Int
  ) -> Spill {
    Spill.allCases.first { bytes($0, model, stage: stage, dtype: dtype, processes: processes) <= room } ?? .gradients
  }
}
