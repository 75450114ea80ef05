import CTorch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Where libtorch and the shim over it are looked for. Pure functions of their arguments and the file system,
/// so that every way of not finding them can be tried.
package enum Location {
  /// What to do about a libtorch that is missing or the wrong one.
  static let advice = "Run Scripts/setup in the clone, or set COPPICE_LIBTORCH to a folder with include/ and lib/."

  /// The same for a program that was installed with pip.
  static let packageAdvice =
    "Install it where Coppice is: pip install torch==\(LibTorch.supportedVersion); or set COPPICE_LIBTORCH to a folder "
    + "with include/ and lib/."

  /// The folder of libtorch, with `lib/libtorch_cpu.so` in it: the one that `override` (COPPICE_LIBTORCH)
  /// names and no other; without it the one that is in the process already, that of the Python packages Coppice was
  /// installed with, `.deps/libtorch` of the nearest folder above the executable, then the executable's own folder.
  ///
  /// - Parameter loaded: the file of libtorch in a program that is linked to it.
  /// - Throws: `TorchError` that says what was looked for and where.
  package static func libtorch(override: String?, loaded: String? = nil, executableFolder: String) throws -> String {
    if let override, !override.isEmpty {
      if isLibTorch(override) { return resolved(override) }
      throw TorchError(
        "COPPICE_LIBTORCH is \(override), but there is no \(override)/lib/libtorch_cpu.so. "
          + "It must name a folder of libtorch \(LibTorch.supportedVersion) with include/ and lib/.")
    }
    if let loaded, isLibTorch(parent(parent(loaded))) { return parent(parent(loaded)) }
    let packages = packageFolders(of: executableFolder)
    for folder in packages where isLibTorch("\(folder)/torch") { return resolved("\(folder)/torch") }
    for folder in ancestors(of: executableFolder) where isLibTorch("\(folder)/.deps/libtorch") {
      return resolved("\(folder)/.deps/libtorch")
    }
    if isLibTorch(executableFolder) { return resolved(executableFolder) }
    if let folder = packages.first {
      throw TorchError(
        "libtorch \(LibTorch.supportedVersion) was not found. Looked for \(folder)/torch/lib/libtorch_cpu.so, and for "
          + ".deps/libtorch in \(executableFolder) and every folder above it. \(packageAdvice)")
    }
    throw TorchError(
      "libtorch \(LibTorch.supportedVersion) was not found. Looked for .deps/libtorch/lib/libtorch_cpu.so in "
        + "\(executableFolder) and every folder above it, then for \(executableFolder)/lib/libtorch_cpu.so. \(advice)")
  }

  /// The version of the libtorch in `folder` without its build tag ("2.11.0"), from the wheel's `version.py`
  /// or the archive's `build-version`.
  ///
  /// - Throws: `TorchError` when neither file says it.
  package static func version(of folder: String) throws -> String {
    if let text = contents("\(folder)/version.py") {
      for line in text.split(separator: "\n") where line.hasPrefix("__version__") {
        let quoted = line.split(whereSeparator: { $0 == "'" || $0 == "\"" })
        if quoted.count > 1 { return withoutTag(quoted[1]) }
      }
    }
    if let text = contents("\(folder)/build-version"), let line = text.split(whereSeparator: \.isWhitespace).first {
      return withoutTag(line)
    }
    throw TorchError(
      "cannot tell the version of libtorch in \(folder): neither version.py nor build-version there says it. \(advice)")
  }

  /// Checks that the libtorch in `folder` is the supported one.
  ///
  /// - Throws: `TorchError` naming both versions and the folder.
  package static func checkVersion(of folder: String, supported: String = LibTorch.supportedVersion) throws {
    let found = try version(of: folder)
    guard found == supported else {
      let isPackage = folder.hasSuffix("-packages/torch")
      throw TorchError(
        "libtorch in \(folder) is version \(found), but Coppice needs \(supported). "
          + (isPackage ? packageAdvice : advice))
    }
  }

  /// The shim library: the one that `override` (COPPICE_TORCH_SHIM) names, else the first that exists in `folders`.
  ///
  /// - Throws: `TorchError` that says where it was looked for.
  package static func shim(override: String?, folders: [String]) throws -> String {
    if let override, !override.isEmpty {
      if isFile(override) { return override }
      throw TorchError("COPPICE_TORCH_SHIM is \(override), but there is no such file.")
    }
    for folder in folders where isFile("\(folder)/\(shimName)") { return "\(folder)/\(shimName)" }
    throw TorchError(
      "\(shimName), the part of Coppice that speaks to libtorch, was not found in \(folders.joined(separator: " or ")). "
        + "`swift build` makes it beside the executable; keep them together, or set COPPICE_TORCH_SHIM to its path.")
  }

  static let shimName = "libcoppice_torch.so"

  /// The folders of Python packages that a program in the `bin` folder of the same prefix was installed with: those that
  /// hold Coppice's own libraries (`coppice/`). Virtual environments, users' and systems' folders all look alike.
  package static func packageFolders(of executableFolder: String) -> [String] {
    let pattern = "\(escaped(parent(executableFolder)))/lib*/python3*/*-packages/coppice/\(shimName)"
    var found = glob_t()
    defer { globfree(&found) }
    guard glob(pattern, 0, nil, &found) == 0, let paths = found.gl_pathv else { return [] }
    return (0..<Int(found.gl_pathc)).compactMap { paths[$0].map { parent(parent(String(cString: $0))) } }
  }

  /// A path with the characters that patterns give a meaning made plain.
  private static func escaped(_ path: String) -> String {
    path.reduce(into: "") { $0 += "*?[\\".contains($1) ? "\\\($1)" : String($1) }
  }

  /// The folder of the running executable.
  static func executableFolder() -> String {
    let path = resolvedFile("/proc/self/exe") ?? ownFile() ?? "."
    return parent(path)
  }

  /// The folder of the file that holds this code: the executable's, or that of a library embedding it.
  static func ownFolder() -> String? { ownFile().map(parent) }

  static func environment(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  /// The file of the libtorch that the process has loaded already: that of a program linked to the shim.
  static func loadedLibTorch() -> String? { string(ct_loaded_path("libtorch_cpu.so")) }

  private static func ownFile() -> String? { string(ct_own_path()) }

  /// The text of a C string that is this function's to free.
  private static func string(_ text: UnsafeMutablePointer<CChar>?) -> String? {
    guard let text else { return nil }
    defer { free(text) }
    return String(cString: text)
  }

  private static func isLibTorch(_ folder: String) -> Bool { isFile("\(folder)/lib/libtorch_cpu.so") }

  private static func isFile(_ path: String) -> Bool { access(path, R_OK) == 0 }

  private static func resolved(_ path: String) -> String { resolvedFile(path) ?? path }

  private static func resolvedFile(_ path: String) -> String? {
    guard let real = realpath(path, nil) else { return nil }
    defer { free(real) }
    return String(cString: real)
  }

  private static func parent(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// A folder and every folder above it, the nearest first.
  private static func ancestors(of folder: String) -> [String] {
    var folders = [folder]
    while let last = folders.last, last.contains("/"), last != "/" { folders.append(parent(last)) }
    return folders
  }

  private static func withoutTag(_ version: Substring) -> String {
    String(version.prefix { $0 != "+" })
  }

  /// The first 64 KiB of a text file; nil where it cannot be read.
  private static func contents(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    let bytes = [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
      count = fread(buffer.baseAddress, 1, buffer.count, file)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
