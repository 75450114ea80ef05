import Foundation

/// Where a model is found.
public enum ModelPlace {
  /// The directory that a name means.
  ///
  /// - Parameter model: a local directory, or the hub's name of a model.
  /// - Throws: `RunError` for a hub name, which cannot be fetched yet.
  public static func directory(_ model: String) throws -> String {
    var isDirectory: ObjCBool = false
    if FileManager.default.fileExists(atPath: model, isDirectory: &isDirectory) {
      if isDirectory.boolValue { return model }
      throw RunError(
        "\(model) is a file; \(parameter: "hf_model_name_or_path") wants the directory with config.json in it")
    }
    let isHubName = model.wholeMatch(of: /[A-Za-z0-9_.\-]+\/[A-Za-z0-9_.\-]+/) != nil
    throw isHubName
      ? RunError(
        """
        there is no directory \(model), and hub names are not fetched yet: download it first (hf download \(model) \
        --local-dir DIR) and give DIR
        """) : RunError("there is no directory \(model)")
  }
}
