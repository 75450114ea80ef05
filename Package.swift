// swift-tools-version: 6.2
import PackageDescription

// libtorch and Arrow are the shared libraries and headers of PyPI's wheels. Scripts/setup puts them below
// .deps/; COPPICE_LIBTORCH (a folder with include/ and lib/) names another libtorch. Only the two C++ shims
// see them: the shims are shared libraries of their own, opened at run time when a tensor or a Parquet file
// is first needed, so that `coppice --help` starts at once and a missing libtorch is a message, not a crash.
let root = Context.packageDirectory
let libtorch = Context.environment["COPPICE_LIBTORCH"] ?? "\(root)/.deps/libtorch"
let arrow = Context.environment["COPPICE_ARROW"] ?? "\(root)/.deps/arrow"

let strict: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
]

func swiftTarget(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []) -> Target {
  .testTarget(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: strict)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

let package = Package(
  name: "coppice",
  products: [
    .executable(name: "coppice", targets: ["coppice"]),
    .executable(name: "prune_minitron", targets: ["prune_minitron"]),
    // What other programs build on. (A module named Coppice would collide with the executable's where file names differ in
    // case alone.)
    .library(
      name: "Coppice",
      targets: [
        "Jobs", "Evaluation", "Minitron", "Execution", "Models", "Datasets", "ChatTemplates", "Hub", "Tokenization",
        "Checkpoint", "Ranks", "Torch", "JSON", "Messages",
      ]),
    .library(name: "coppice_torch", type: .dynamic, targets: ["CTorchShim"]),
    .library(name: "coppice_parquet", type: .dynamic, targets: ["CParquetShim"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-crypto", exact: "4.5.2"),
  ],
  targets: [
    .target(name: "CTorch", linkerSettings: [.linkedLibrary("dl")]),
    .target(
      name: "CTorchShim",
      cxxSettings: [
        .headerSearchPath("../CTorch/include"),
        // Declarations of Gloo's, which c10d's headers include.
        .headerSearchPath("."),
        .unsafeFlags([
          "-isystem", "\(libtorch)/include", "-isystem", "\(libtorch)/include/torch/csrc/api/include",
          "-fvisibility=hidden",
        ]),
      ],
      linkerSettings: [
        // The path is for programs that are linked to the shim; Coppice's own open libtorch before it.
        .unsafeFlags([
          "-L\(libtorch)/lib", "-Xlinker", "-rpath", "-Xlinker", "\(libtorch)/lib", "-Xlinker", "--no-as-needed",
          "-ltorch_cpu", "-lc10",
        ])
      ]),
    .target(name: "CParquet", linkerSettings: [.linkedLibrary("dl")]),
    .target(
      name: "CParquetShim",
      cxxSettings: [
        .headerSearchPath("../CParquet/include"),
        .unsafeFlags(["-isystem", "\(arrow)/include", "-fvisibility=hidden"]),
      ],
      linkerSettings: [
        .unsafeFlags([
          "-L\(arrow)", "-Xlinker", "-rpath", "-Xlinker", arrow, "-Xlinker", "--no-as-needed",
          "-l:libparquet.so.2600", "-l:libarrow.so.2600",
        ])
      ]),
    swiftTarget("JSON", []),
    swiftTarget("Messages", []),
    swiftTarget("Formatting", []),
    swiftTarget("Report", ["Files", "Formatting"]),
    swiftTarget("Torch", ["CTorch"]),
    .target(name: "CFiles"),
    swiftTarget("Files", ["CFiles", "JSON", crypto]),
    swiftTarget("Ranks", ["JSON", "Messages", "Files", "Torch", crypto]),
    .target(name: "CHub", linkerSettings: [.linkedLibrary("dl")]),
    swiftTarget("Hub", ["JSON", "Messages", "Formatting", "Files", "CHub", crypto]),
    .target(name: "CCheckpoint"),
    swiftTarget("Checkpoint", ["JSON", "CCheckpoint", "Files", crypto]),
    swiftTarget("Tokenization", ["JSON", "Files"]),
    swiftTarget("ChatTemplates", ["JSON", "Files"]),
    swiftTarget("Datasets", ["JSON", "CParquet", "Files", "Messages", crypto]),
    swiftTarget("Models", ["JSON", "Messages", "Checkpoint", "Torch"]),
    swiftTarget("Execution", ["JSON", "Models", "Checkpoint", "Files", "Messages", "Torch"]),
    swiftTarget("Minitron", ["JSON", "Checkpoint", "Files", "Messages", "Models", "Execution", "Torch"]),
    swiftTarget("Recovery", ["JSON", "Checkpoint", "Files", "Models", "Execution", "Minitron", "Torch", crypto]),
    swiftTarget("Training", ["JSON", "Checkpoint", "Files", "Models", "Execution", "Ranks", "Torch", crypto]),
    swiftTarget(
      "Evaluation",
      ["JSON", "Messages", "Datasets", "Execution", "Minitron", "Models", "Tokenization", "Torch"]),
    swiftTarget(
      "Jobs",
      [
        "JSON", "Messages", "Formatting", "Torch", "Checkpoint", "Files", "Hub", "Tokenization", "ChatTemplates",
        "Datasets", "Models", "Execution", "Minitron", "Evaluation", "Ranks", "Recovery", "Training", crypto,
      ]),
    swiftTarget(
      "CoppiceCommands",
      [
        "JSON", "Messages", "Formatting", "Report", "Torch", "Checkpoint", "Files", "Hub", "Tokenization",
        "ChatTemplates", "Datasets", "Models", "Execution", "Minitron", "Evaluation", "Jobs", "Ranks", "Recovery",
        argumentParser,
      ]),
    .executableTarget(name: "coppice", dependencies: ["CoppiceCommands", argumentParser], swiftSettings: strict),
    .executableTarget(
      name: "prune_minitron", dependencies: ["CoppiceCommands", argumentParser], swiftSettings: strict),
    .executableTarget(
      name: "kernel-bench", dependencies: ["Torch"], path: "Benchmarks/KernelBench", swiftSettings: strict),
    .executableTarget(
      name: "block-bench", dependencies: ["JSON", "Models", "Execution", "Torch"], path: "Benchmarks/BlockBench",
      swiftSettings: strict),
    .executableTarget(
      name: "walk-bench", dependencies: ["Models", "Execution", "Minitron", "Torch"], path: "Benchmarks/WalkBench",
      swiftSettings: strict),
    .executableTarget(
      name: "rank-bench", dependencies: ["Ranks", "Files", "Torch"], path: "Benchmarks/RankBench",
      swiftSettings: strict),
    .executableTarget(
      name: "parity", dependencies: ["Models", "Execution", "Minitron", "Torch"], path: "Benchmarks/Parity",
      swiftSettings: strict),
    .executableTarget(
      name: "gradients", dependencies: ["Checkpoint", "Models", "Execution", "Training", "Torch"],
      path: "Tests/Gradients", swiftSettings: strict),
    tests("JSONTests", ["JSON"]),
    tests("TorchTests", ["Torch", "CTorch", "TestSupport"]),
    tests("FilesTests", ["Files", "JSON"]),
    tests("CheckpointTests", ["Checkpoint", "Files", "JSON"]),
    .target(
      name: "TestSupport", dependencies: ["JSON", "Checkpoint", "Models", "Execution", "Ranks", "Torch"],
      path: "Tests/TestSupport", swiftSettings: strict),
    tests("ExecutionTests", ["Models", "Execution", "Torch", "TestSupport"]),
    tests("MinitronTests", ["JSON", "Checkpoint", "Models", "Execution", "Minitron", "Torch", "TestSupport"]),
    tests("RecoveryTests", ["Recovery", "Models", "Execution", "Minitron", "Torch", "TestSupport"]),
    tests("TrainingTests", ["JSON", "Files", "Models", "Execution", "Ranks", "Training", "Torch", "TestSupport"]),
    tests("ReportTests", ["Report", "Formatting"]),
    tests(
      "EvaluationTests",
      [
        "JSON", "Datasets", "Models", "Execution", "Minitron", "Evaluation", "Tokenization", "Torch", "TestSupport",
      ]),
    tests("TokenizationTests", ["Tokenization", "JSON"]),
    tests("ChatTemplatesTests", ["ChatTemplates", "JSON", "TestSupport"]),
    tests("ModelsTests", ["JSON", "Models", "Minitron", "TestSupport"]),
    // Runs the built executables.
    tests(
      "CommandTests",
      [
        "JSON", "Checkpoint", "Tokenization", "Models", "Execution", "Minitron", "Torch", "CoppiceCommands",
        "TestSupport", "coppice", "prune_minitron",
      ], exclude: ["Help"]),
    tests(
      "JobsTests",
      [
        "JSON", "Messages", "Datasets", "Tokenization", "Models", "Minitron", "Evaluation", "Ranks", "Jobs", "Torch",
        "TestSupport",
      ]),
    tests("RanksTests", ["Ranks", "Files", "Messages", "Torch", "TestSupport"]),
    tests("HubTests", ["Hub", "Files", "JSON"]),
    tests("DatasetsTests", ["Datasets", "JSON"], exclude: ["Data"]),
  ],
  cxxLanguageStandard: .cxx20
)
