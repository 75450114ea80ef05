import CTorch
import Foundation
import Testing
import Torch

@Suite struct Library {
  @Test func theVersionInUseIsTheSupportedOne() throws {
    #expect(try LibTorch.version == LibTorch.supportedVersion)
  }

  @Test func theReportSaysWhatWasFound() {
    let report = LibTorch.environment()
    #expect(report.problem == nil)
    #expect(report.version == "2.11.0")
    #expect(report.path?.hasPrefix("/") == true)
    #expect(report.shimPath?.hasSuffix("/libcoppice_torch.so") == true)
    #expect(report.threads >= 1)
    #expect(report.cpuCapability?.isEmpty == false)
    #expect((report.cudaDevices == 0) == (report.cudaUnavailable != nil))
  }

  @Test func threadsCountFromOne() throws {
    expectError("1 to 4096") { try LibTorch.setThreads(0) }
    expectError("1 to 4096") { try LibTorch.setThreads(.max) }
    let threads = try LibTorch.threads
    try LibTorch.setThreads(threads)
    #expect(try LibTorch.threads == threads)
  }

  @Test func severalThreadsMayStartAtOnce() {
    nonisolated(unsafe) let sums = UnsafeMutableBufferPointer<Double>.allocate(capacity: 8)
    defer { sums.deallocate() }
    DispatchQueue.concurrentPerform(iterations: 8) { i in
      sums[i] = (try? Tensor.full([1000], Double(i), dtype: .float32).sum().item()) ?? -1
    }
    #expect(Array(sums) == (0..<8).map { Double($0) * 1000 })
  }

  @Test func devicesThatAreNotThereThrow() {
    expectError("no Metal device") { try Tensor.zeros([1], dtype: .float32, device: .mps) }
    expectError("no CUDA device -1") { try Tensor.zeros([1], dtype: .float32, device: .cuda(-1)) }
    expectError("no CUDA device") { try Tensor.zeros([1], dtype: .float32, device: .cuda(.max)) }
    if LibTorch.environment().cudaDevices == 0 {
      expectError("to: there is no CUDA device 0") { try Tensor.zeros([1], dtype: .float32).to(device: .cuda(0)) }
    }
  }

  @Test func memoryOfALargeTensorIsHandedOutAgainUntilItIsReleased() throws {
    func address() throws -> Int {
      let tensor = try Tensor.zeros([3, 1 << 20], dtype: .float32)
      return try tensor.withUnsafeBytes { Int(bitPattern: $0.baseAddress) }
    }
    let first = try address()
    #expect(try address() == first)
    // A tensor that lives keeps its values, whatever is released meanwhile.
    let kept = try Tensor.ones([3, 1 << 20], dtype: .float32)
    try LibTorch.releaseMemory()
    try LibTorch.keepMemory(0)
    _ = try address()
    #expect(try kept.sum().item() == 3 * 1_048_576)
    try LibTorch.keepMemory(1 << 30)
    #expect(try address() == address())
  }
}

#if os(Linux)
  /// Resident memory that belongs to no file, in MiB.
  private func residentMemory() throws -> Int {
    let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
    let line = try #require(status.split(separator: "\n").first { $0.hasPrefix("RssAnon:") })
    return try #require(line.split(separator: " ").dropFirst().first.flatMap { Int($0) }) / 1024
  }

  extension Library {
    @Test func memoryOfSizesThatNobodyAsksForAgainIsNotKept() throws {
      let before = try residentMemory()
      // Four gigabytes one after another, of seventy sizes; never more than 94 MiB at once.
      for size in 24..<94 { _ = try Tensor.ones([size, 1 << 18], dtype: .float32) }
      #expect(try residentMemory() - before < 600)
    }
  }
#endif

/// Folders that look like installations.
@Suite final class Finding {
  let root: String

  deinit { try? FileManager.default.removeItem(atPath: root) }

  init() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "coppice-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    root = folder.resolvingSymlinksInPath().path
  }

  func write(_ path: String, _ text: String = "") throws {
    let file = URL(filePath: "\(root)/\(path)")
    try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(text.utf8).write(to: file)
  }

  @Test func theVariableComesFirst() throws {
    try write("other/lib/libtorch_cpu.so")
    try write("clone/.deps/libtorch/lib/libtorch_cpu.so")
    let executable = "\(root)/clone/.build/release"
    #expect(
      try Location.libtorch(override: "\(root)/other", executableFolder: executable) == "\(root)/other")
    #expect(
      try Location.libtorch(override: "", executableFolder: executable) == "\(root)/clone/.deps/libtorch")
    // That of a program linked to it is the only one that can be.
    let loaded = "\(root)/other/lib/libtorch_cpu.so"
    #expect(
      try Location.libtorch(override: nil, loaded: loaded, executableFolder: executable) == "\(root)/other")
  }

  @Test func aVariableThatNamesNothingIsAnErrorEvenWhereACloneHasOne() throws {
    try write("clone/.deps/libtorch/lib/libtorch_cpu.so")
    expectError("COPPICE_LIBTORCH is \(root)/nothing, but there is no \(root)/nothing/lib/libtorch_cpu.so") {
      try Location.libtorch(override: "\(root)/nothing", executableFolder: "\(root)/clone")
    }
  }

  @Test func theNearestFolderAboveTheExecutableIsTaken() throws {
    try write("a/.deps/libtorch/lib/libtorch_cpu.so")
    try write("a/b/.deps/libtorch/lib/libtorch_cpu.so")
    #expect(
      try Location.libtorch(override: nil, executableFolder: "\(root)/a/b/.build/x/release")
        == "\(root)/a/b/.deps/libtorch")
    #expect(
      try Location.libtorch(override: nil, executableFolder: "\(root)/a/c") == "\(root)/a/.deps/libtorch")
  }

  @Test func besideTheExecutableIsLast() throws {
    try write("bin/lib/libtorch_cpu.so")
    #expect(try Location.libtorch(override: nil, executableFolder: "\(root)/bin") == "\(root)/bin")
  }

  /// As pip installs a wheel: programs in `bin`, libraries among the packages, in a path with a space and with characters
  /// that patterns give a meaning.
  @Test func installedProgramsUseThePackagesOfTheirEnvironment() throws {
    let packages = "an [env]*/lib/python3.12/site-packages"
    try write("\(packages)/coppice/libcoppice_torch.so")
    try write("\(packages)/torch/lib/libtorch_cpu.so")
    try write("\(packages)/torch/version.py", "__version__ = '2.10.0+cpu'\n")
    try write(".deps/libtorch/lib/libtorch_cpu.so")
    let bin = "\(root)/an [env]*/bin"
    #expect(Location.packageFolders(of: bin) == ["\(root)/\(packages)"])
    let found = try Location.libtorch(override: nil, executableFolder: bin)
    #expect(found == "\(root)/\(packages)/torch")
    for part in ["2.10.0", "2.11.0", "pip install torch==2.11.0"] {
      expectError(part) { try Location.checkVersion(of: found) }
    }
    #expect(
      try Location.shim(override: nil, folders: [bin, "\(root)/\(packages)/coppice"])
        == "\(root)/\(packages)/coppice/libcoppice_torch.so")
    // Without torch there, and without a clone above, the message says how to install it.
    try FileManager.default.removeItem(atPath: "\(root)/\(packages)/torch")
    try FileManager.default.removeItem(atPath: "\(root)/.deps")
    expectError("pip install torch==2.11.0") { try Location.libtorch(override: nil, executableFolder: bin) }
  }

  @Test func nothingFoundSaysWhereAndWhatToDo() {
    for part in ["libtorch 2.11.0 was not found", "\(root)/bin", "Scripts/setup", "COPPICE_LIBTORCH"] {
      expectError(part) { try Location.libtorch(override: nil, executableFolder: "\(root)/bin") }
    }
  }

  @Test func theVersionIsReadFromWheelsAndArchives() throws {
    try write("wheel/version.py", "from typing import Optional\n\n__version__ = '2.11.0+cu130'\ndebug = False\n")
    try write("archive/build-version", "2.10.1+cpu\n")
    #expect(try Location.version(of: "\(root)/wheel") == "2.11.0")
    #expect(try Location.version(of: "\(root)/archive") == "2.10.1")
    try Location.checkVersion(of: "\(root)/wheel")
  }

  @Test func anotherVersionIsAnErrorThatNamesBoth() throws {
    try write("archive/build-version", "2.10.1+cpu\n")
    try write("nightly/version.py", "__version__ = '2.11.0.dev20260101+cpu'\n")
    expectError("libtorch in \(root)/archive is version 2.10.1, but Coppice needs 2.11.0") {
      try Location.checkVersion(of: "\(root)/archive")
    }
    expectError("2.11.0.dev20260101, but") { try Location.checkVersion(of: "\(root)/nightly") }
  }

  @Test func aVersionThatCannotBeReadIsAnError() throws {
    for text in ["", "__version__", "__version__ = 2", "\u{0}\u{1}", "__version__ = '"] {
      try write("odd/version.py", text)
      expectError("cannot tell the version") { try Location.version(of: "\(root)/odd") }
    }
    expectError("cannot tell the version") { try Location.version(of: "\(root)/none") }
  }

  @Test func theShimIsBesideTheExecutable() throws {
    try write("bin/libcoppice_torch.so")
    let folders = ["\(root)/none", "\(root)/bin"]
    #expect(try Location.shim(override: nil, folders: folders) == "\(root)/bin/libcoppice_torch.so")
    expectError("COPPICE_TORCH_SHIM is /nowhere") { try Location.shim(override: "/nowhere", folders: folders) }
    expectError("\(root)/none") { try Location.shim(override: nil, folders: ["\(root)/none"]) }
  }

  @Test func filesThatAreNoLibrariesDoNotLoad() throws {
    try write("fake/lib/libc10.so", "text")
    var api: UnsafePointer<ct_api>?
    var reason: UnsafeMutablePointer<CChar>?
    let error = ct_open("\(root)/fake/lib", "\(root)/shim.so", &api, &reason)
    defer {
      free(error)
      free(reason)
    }
    #expect(api == nil)
    #expect(error.map { String(cString: $0) }?.hasPrefix("cannot open \(root)/fake/lib/libc10.so: ") == true)
  }

  /// What a device lacks is said without advice to those who program it.
  @Test func lackOfDeviceMemoryIsToldApart() {
    let full = TorchError(
      "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.06 GiB is free. Including "
        + "non-PyTorch memory, this process has 78.04 GiB memory in use. See documentation for Memory Management",
      operation: "linear")
    #expect(
      full.lackOfDeviceMemory
        == "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which "
        + "1.06 GiB is free.")
    #expect(TorchError("mat1 and mat2 shapes cannot be multiplied").lackOfDeviceMemory == nil)
    #expect(TorchError("the machine is out of memory").lackOfDeviceMemory == nil)
  }
}
