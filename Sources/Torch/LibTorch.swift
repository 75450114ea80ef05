import CTorch
import Dispatch

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// libtorch as a whole. It is opened when the first tensor is made, or by `load()`: once in a process, from
/// whichever thread comes first.
public enum LibTorch {
  /// The one version of libtorch that works here.
  public static let supportedVersion = CT_LIBTORCH_VERSION

  /// Opens libtorch. Does nothing when it is open.
  ///
  /// - Throws: `TorchError` that says what was looked for, where, and what to do; the same one at every call.
  public static func load() throws {
    _ = try api
  }

  /// Sets what libtorch finds in the process: how its threads wait (`OMP_WAIT_POLICY`) and what it logs
  /// (`TORCH_CPP_LOG_LEVEL`), unless the environment says otherwise, and how memory is reserved. For programs, first of all: the environment may only be changed while there is
  /// one thread. A library's host decides for itself.
  public static func prepare() { ct_prepare() }

  /// Opens libtorch on a thread of its own, a fifth of a second in which the caller can do something else. Whoever needs
  /// it meanwhile waits; that it cannot be opened is said then.
  public static func loadInBackground() {
    DispatchQueue.global(qos: .userInitiated).async { try? load() }
  }

  /// The version of the libtorch in use, "2.11.0".
  public static var version: String {
    get throws { String(cString: try api.pointee.torch_version()) }
  }

  /// Threads that one operation may use.
  public static var threads: Int {
    get throws { Int(try api.pointee.threads()) }
  }

  /// Sets the threads that one operation may use, for operations from every thread.
  ///
  /// - Throws: `TorchError` unless 1 ≤ `count` ≤ 4096.
  public static func setThreads(_ count: Int) throws {
    guard (1...4096).contains(count) else { throw TorchError("the number of threads must be 1 to 4096, not \(count)") }
    try check(try api.pointee.set_threads(Int32(count)))
  }

  /// Refuses operations whose result may differ from run to run (CUDA has some).
  public static func setDeterministic(_ on: Bool) throws {
    try check(try api.pointee.set_deterministic(on))
  }

  /// Seeds the generator of `Tensor.randn` and `multinomial`.
  public static func seed(_ seed: UInt64) throws {
    try check(try api.pointee.manual_seed(seed))
  }

  /// How much memory of large tensors the process may keep when they go, to be handed out again: four gibibytes
  /// unless this says otherwise. 0 gives everything back to the system at once, which then clears every page of the
  /// next tensor: more time than most operations over it take.
  public static func keepMemory(_ bytes: Int) throws {
    try api.pointee.keep_memory(max(bytes, 0))
  }

  /// Gives memory that is kept for later tensors back to the system: for the ends of long steps.
  public static func releaseMemory() throws {
    try api.pointee.release_memory()
  }

  /// What was found, for `doctor`. Opens libtorch, and does not throw when that fails: `problem` says why.
  public static func environment() -> LibTorchReport {
    var report = LibTorchReport(supportedVersion: supportedVersion)
    do {
      let opened = try Opened.once.get()
      let api = opened.api
      report.path = opened.folder
      report.shimPath = opened.shim
      report.version = String(cString: api.pointee.torch_version())
      report.threads = Int(api.pointee.threads())
      report.cpuCapability = String(cString: api.pointee.cpu_capability())
      report.hasMKL = api.pointee.has_mkl()
      report.hasOneDNN = api.pointee.has_mkldnn()
      report.cudaDevices = Int(api.pointee.cuda_devices())
      if report.cudaDevices == 0 {
        report.cudaUnavailable = opened.cudaReason ?? "libtorch's CUDA part is loaded, but finds no device or driver"
      }
    } catch {
      report.problem = error
      report.cudaUnavailable = "libtorch is not loaded"
    }
    return report
  }

  static var api: UnsafePointer<ct_api> {
    @inline(__always) get throws { try Opened.once.get().api }
  }
}

/// What `LibTorch.environment()` found.
public struct LibTorchReport: Sendable {
  /// Why libtorch could not be opened; nil when it is open, and then the fields below hold.
  public internal(set) var problem: TorchError?
  /// The version that is needed.
  public let supportedVersion: String
  /// The version in use.
  public internal(set) var version: String?
  /// The folder of libtorch, symbolic links resolved.
  public internal(set) var path: String?
  /// The library over libtorch that belongs to Coppice.
  public internal(set) var shimPath: String?
  /// Threads that one operation may use.
  public internal(set) var threads = 0
  /// The instruction set of libtorch's kernels: DEFAULT, AVX2, AVX512 …
  public internal(set) var cpuCapability: String?
  /// Whether Intel's MKL (float32 matrix products) is in it.
  public internal(set) var hasMKL = false
  /// Whether oneDNN (bfloat16 matrix products) is in it.
  public internal(set) var hasOneDNN = false
  /// CUDA devices that can be used.
  public internal(set) var cudaDevices = 0
  /// Why there is no CUDA device; nil when there is one.
  public internal(set) var cudaUnavailable: String?

  init(supportedVersion: String) { self.supportedVersion = supportedVersion }
}

/// The libraries, once they are open. They are open for the life of the process.
struct Opened: @unchecked Sendable {
  // The table is immutable and its functions may be called from any thread.
  let api: UnsafePointer<ct_api>
  let folder: String
  let shim: String
  let cudaReason: String?

  static let once: Result<Opened, TorchError> = open()

  private static func open() -> Result<Opened, TorchError> {
    do {
      // Without one MKL ends the process.
      guard let here = getcwd(nil, 0) else {
        throw TorchError("the working directory is gone or cannot be read: change to one that is there")
      }
      free(here)
      let executable = Location.executableFolder()
      let folder = try Location.libtorch(
        override: Location.environment("COPPICE_LIBTORCH"), loaded: Location.loadedLibTorch(),
        executableFolder: executable)
      try Location.checkVersion(of: folder)
      let own = Location.ownFolder()
      let shim = try Location.shim(
        override: Location.environment("COPPICE_TORCH_SHIM"),
        folders: [executable] + (own == executable ? [] : own.map { [$0] } ?? [])
          + Location.packageFolders(of: executable).map { "\($0)/coppice" })
      return .success(try Opened(folder: folder, shim: shim))
    } catch let error as TorchError {
      return .failure(error)
    } catch {
      return .failure(TorchError("\(error)"))
    }
  }

  private init(folder: String, shim: String) throws {
    var table: UnsafePointer<ct_api>?
    var reason: UnsafeMutablePointer<CChar>?
    defer { free(reason) }
    if let error = ct_open("\(folder)/lib", shim, &table, &reason) {
      defer { free(error) }
      throw TorchError("libtorch in \(folder) does not load: \(String(cString: error)). \(Location.advice)")
    }
    guard let table else { throw TorchError("\(shim) offers nothing") }
    api = table
    self.folder = folder
    self.shim = shim
    cudaReason = reason.map { String(cString: $0) }
  }
}

/// Turns what a function of the C boundary returned into an error, and frees it.
@inline(__always)
func check(_ error: UnsafeMutablePointer<CChar>?, _ operation: StaticString? = nil) throws {
  if let error { throw failure(error, operation) }
}

@inline(never)
private func failure(_ error: UnsafeMutablePointer<CChar>, _ operation: StaticString?) -> TorchError {
  defer { free(error) }
  let name = operation.map { String("\($0)".prefix { $0 != "(" }) }
  return TorchError(String(cString: error), operation: name)
}
