import Foundation
import JSON
import TestSupport
import Testing
import Torch

/// `--compute_dtype auto`: the quickest type on this processor that holds the checkpoint's values.
@Suite struct ComputeTypeTests {
  private static let names = [
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "COPPICE_KERNELS",
  ]
  /// Without what the tests themselves run under.
  private static let unlimited = Dictionary(uniqueKeysWithValues: names.map { ($0, "") })
  private static let hasUnits = {
    let flags = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    return flags.contains("avx512_bf16")
  }()
  private let text = ["--eval_dataset_name", Program.data + "/heldout.jsonl", "--seq_length", "32"]

  /// What `doctor` says, which needs no libtorch for it.
  private func isQuick(_ environment: [String: String]) throws -> Bool? {
    let limits = Self.unlimited.merging(environment) { $1 }
    let result = try Program.run(
      ["doctor", "--json"], environment: limits.merging(["COPPICE_LIBTORCH": "/nonexistent"]) { $1 })
    return result.json?["bfloat16_products"]?.bool
  }

  @Test func variablesThatHideTheInstructionsAreObeyed() throws {
    #expect(try isQuick([:]) == Self.hasUnits)
    for limit in ["avx2", "AVX2", "default"] { #expect(try isQuick(["ATEN_CPU_CAPABILITY": limit]) == false) }
    for limit in ["AVX2", "avx2", "AVX512_CORE", "AVX512_CORE_VNNI", "SSE41"] {
      #expect(try isQuick(["ONEDNN_MAX_CPU_ISA": limit]) == false)
    }
    #expect(try isQuick(["DNNL_MAX_CPU_ISA": "AVX2"]) == false)
    for limit in ["avx2", "avx512", "generic"] { #expect(try isQuick(["COPPICE_KERNELS": limit]) == false) }
  }

  @Test func limitsThatLeaveTheInstructionsAreNone() throws {
    #expect(try isQuick(["ATEN_CPU_CAPABILITY": "avx512"]) == Self.hasUnits)
    for limit in ["AVX512_CORE_BF16", "AVX512_CORE_AMX", "DEFAULT"] {
      #expect(try isQuick(["ONEDNN_MAX_CPU_ISA": limit]) == Self.hasUnits)
    }
    // oneDNN looks at the older name where the newer one is not set.
    #expect(try isQuick(["ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16", "DNNL_MAX_CPU_ISA": "AVX2"]) == Self.hasUnits)
    for limit in ["avx512_bf16", "off"] { #expect(try isQuick(["COPPICE_KERNELS": limit]) == Self.hasUnits) }
  }

  @Test func bfloat16IsComputedInFloat32WhereItsProductsAreSlow() throws {
    for (limit, type) in [("", Self.hasUnits ? "bfloat16" : "float32"), ("AVX2", "float32")] {
      let result = try Program.run(
        ["eval", "--json", "--hf_model_name_or_path", Program.model, "--eval_num_samples", "1"] + text,
        environment: Self.unlimited.merging(["ONEDNN_MAX_CPU_ISA": limit]) { $1 })
      result.expectSuccess()
      #expect(result.json?["compute_dtype"]?.string == type)
    }
  }

  @Test func whoForcesASlowTypeIsTold() throws {
    let limits = Self.unlimited.merging(["ONEDNN_MAX_CPU_ISA": "AVX2"]) { $1 }
    func said(_ arguments: [String]) throws -> String {
      let result = try Program.run(
        ["eval", "--hf_model_name_or_path", Program.model, "--eval_num_samples", "1"] + text + arguments,
        environment: limits)
      result.expectSuccess()
      return result.error
    }
    let forced = try said(["--compute_dtype", "bfloat16"])
    #expect(forced.contains("--compute_dtype float32"), "\(forced)")
    let left = try said([])
    #expect(left.contains("float32, which is quicker here") && !left.contains("--compute_dtype"), "\(left)")
    let exact = try said(["--compute_dtype", "float32"])
    #expect(!exact.contains("float32"), "\(exact)")
  }

  @Test func scoresOfOneTypeAreNotTakenForAnothers() throws {
    try withTemporaryDirectory { directory in
      func prune(_ type: String) throws -> Program.Result {
        try Program.run([
          "prune", "--json", "--hf_model_name_or_path", Program.model, "--output_hf_path", directory + "/" + type,
          "--prune_intermediate_ckpt", directory + "/scores", "--prune_export_config", #"{"num_layers": 7}"#,
          "--calib_dataset_name", Program.data + "/calib.jsonl", "--calib_num_samples", "2", "--seq_length", "32",
          "--compute_dtype", type,
        ])
      }
      let first = try prune("float32")
      first.expectSuccess()
      #expect(first.json?["compute_dtype"]?.string == "float32")
      try prune("bfloat16").expectFailure(saying: "compute_dtype was float32 and is bfloat16")
    }
  }

  @Test func doctorNamesTheObstacle() throws {
    let limits = Self.unlimited.merging(["ATEN_CPU_CAPABILITY": "avx2"]) { $1 }
    let limited = try Program.run(["doctor"], environment: limits)
    #expect(limited.output.contains(Self.hasUnits ? "ATEN_CPU_CAPABILITY is avx2" : "no instructions"))
  }
}
