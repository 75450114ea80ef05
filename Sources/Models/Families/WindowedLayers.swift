import JSON

/// Which layers of a Qwen model see only a window: by `layer_types`, else from `max_window_layers` on.
struct WindowedLayers: Sendable {
  private let windows: [Int?]
  private let boundary: Int?

  /// - Parameter alwaysFrom: max_window_layers when the config does not say, in a family that always has a window unless
  ///   it is null; nil: only with `use_sliding_window`.
  init(_ config: ConfigReader, alwaysFrom: Int? = nil) throws {
    let layers = try config.layerCount("num_hidden_layers")
    let isNull = config.object["sliding_window"]?.isNull == true
    let used = try alwaysFrom != nil ? !isNull : config.flag("use_sliding_window", default: false)
    let window = used ? try config.size("sliding_window", default: 4096) : nil
    let first = try config.size("max_window_layers", default: alwaysFrom ?? 28, atLeast: 0)
    // Said outright once layers go, also where the published default was meant.
    boundary = used || config.has("max_window_layers") ? first : nil
    if let types = try config.optionalStrings("layer_types", count: layers) {
      windows = try types.map { type in
        switch type {
        case "full_attention": return nil
        case "sliding_attention":
          guard let window else {
            throw ModelError("\(config.file): a layer is \"sliding_attention\" without a window in use")
          }
          return window
        default: throw ModelError("\(config.file): layer type \"\(type)\" is not supported for this family")
        }
      }
    } else {
      windows = (0..<layers).map { $0 >= first ? window : nil }
    }
  }

  subscript(layer: Int) -> Int? { windows[layer] }

  /// `max_window_layers` counts the full layers in front: after a cut, those of them that are kept.
  func edit(_ config: inout JSON.Object, kept: [Int]) {
    guard let boundary, kept.count != windows.count else { return }
    config["max_window_layers"] = .int(kept.count { $0 < boundary })
  }
}
