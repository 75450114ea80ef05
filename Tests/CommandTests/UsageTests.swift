import CoppiceCommands
import Foundation
import TestSupport
import Testing

/// What the program says of its arguments, before any work.
@Suite struct UsageTests {
  let model = ["--hf_model_name_or_path", Program.model]
  /// A place that nothing may appear at.
  let nowhere = "/nonexistent/coppice"

  private func prune(_ more: String...) throws -> Program.Result {
    try Program.run(["prune", "--output_hf_path", nowhere] + model + more)
  }

  @Test func versionAndHelpNeedNoLibtorch() throws {
    let without = ["COPPICE_LIBTORCH": "/nonexistent", "COPPICE_TORCH_SHIM": "/nonexistent"]
    let version = try Program.run(["--version"], environment: without)
    #expect(version.output.wholeMatch(of: /[0-9]+\.[0-9]+\.[0-9]+\n/) != nil)
    for command in ["prune", "plan", "inspect", "eval", "generate", "encode", "decode", "doctor"] {
      for help in [[command, "--help"], [command, "-h"], ["help", command]] {
        let result = try Program.run(help, environment: without)
        result.expectSuccess()
        #expect(result.output.contains("USAGE: coppice \(command)"))
        #expect(result.error.isEmpty)
      }
      #expect(try Program.run([command, "--version"], environment: without).output == version.output)
    }
    let reference = try Program.run(["--help"], name: "prune_minitron", environment: without)
    for flag in ["--hf_model_name_or_path", "--prune_target_params", "--hparams_to_skip", "--prune_score_func"] {
      #expect(reference.output.contains(flag))
    }
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func completionsNameEveryCommand(_ shell: String) throws {
    let script = try Program.run(["--generate-completion-script", shell])
    script.expectSuccess()
    for word in ["prune", "plan", "inspect", "eval", "generate", "encode", "decode", "doctor", "prune_target_params"] {
      #expect(script.output.contains(word))
    }
  }

  @Test func bashCompletesFlags() throws {
    let result = try Program.shell(
      """
      bash -c '"$COPPICE" --generate-completion-script bash > c.bash && . ./c.bash && COMP_WORDS=(coppice prune --prune_t)
      COMP_CWORD=2; COMP_LINE="coppice prune --prune_t"; COMP_POINT=${#COMP_LINE}
      _coppice coppice --prune_t prune && echo "${COMPREPLY[@]}"'
      """)
    result.expectSuccess()
    #expect(
      result.output.split(separator: /\s+/)
        == ["--prune_target_params", "--prune_target_active_params", "--prune_target_memory_mb"])
  }

  @Test func unknownNamesComeWithTheNearest() throws {
    try prune("--prune_target_param", "3M").expectFailure(64, saying: "--prune_target_param'", "--prune_target_params'")
    try prune("--prune-target-parms=3M").expectFailure(64, saying: "--prune_target_params'")
    try prune("--prune_target_params", "3M", "--hparams_to_skip", "num_attention_head")
      .expectFailure(64, saying: "\"num_attention_head\"", "num_attention_heads")
    try prune("--prune_export_config", #"{"num_layer": 6}"#).expectFailure(64, saying: "num_layers")
    try prune("--prune_target_params", "3M", "--prune_score_func", "neg_los").expectFailure(64, saying: "neg_loss")
    try Program.run(["plann"]).expectFailure(64, saying: "'plan'")
    try Program.run(["--versoin"]).expectFailure(64, saying: "--versoin")
  }

  @Test(arguments: ["-5", "nan", "1e400", "6X", "-inf", "inf", "", "1e-3", "0x10", "6 B B", "٣"])
  func numbersThatAreNoneAreAnsweredAsValues(_ value: String) throws {
    try prune("--prune_target_params", value).expectFailure(64, saying: "--prune_target_params", "\"\(value)\"")
    if value.isEmpty { return }
    try prune("--prune_target_params=\(value)").expectFailure(64, saying: "--prune_target_params", "\"\(value)\"")
    if value != "1e-3" {
      try prune("--prune_target_memory_mb", value).expectFailure(64, saying: "--prune_target_memory_mb", "\"\(value)\"")
    }
  }

  @Test(arguments: [
    ["--top_k", "0"], ["--top_k", "-1"], ["--seq_length", "0"], ["--seq_length", "9223372036854775807"],
    ["--seq_length", "99999999999999999999"], ["--inference_batch_size", "9223372036854775807"],
    ["--max_width_pruning", "1.5"], ["--max_depth_pruning", "-0.1"], ["--max_width_pruning", "nan"],
    ["--ss_channel_divisor", "0"], ["--calib_num_samples", "0"], ["--calib_batch_size", "-3"], ["--few_shots", "-1"],
    ["--eval_num_samples", "0"], ["--memory_budget", "4QiB"], ["--device", "gpu"], ["--compute_dtype", "float8"],
    ["--pp_size", "0"], ["--nproc", "0"], ["--seed", "-1"], ["--prune_score_func", "mmlu_0pct_bs1"],
    ["--num_layers_in_first_pipeline_stage", "3"],
  ])
  func settingsOutOfRangeAreRefused(_ setting: [String]) throws {
    let result = try Program.run(
      ["prune", "--output_hf_path", nowhere, "--prune_target_params", "3M"] + model + setting)
    result.expectFailure(64)
    #expect(result.error.contains(setting[0]) || result.error.contains("pipeline stages"), "\(result.error)")
  }

  @Test func theOneThingToPruneToIsAskedFor() throws {
    try prune().expectFailure(64, saying: "--prune_target_params", "--prune_export_config")
    try prune("--prune_export_config", #"{"num_layers": 6}"#, "--prune_target_params", "3M")
      .expectFailure(64, saying: "--prune_export_config", "targets")
    try prune("--prune_export_config", #"{"num_layers": 6}"#, "--score_lower_bound", "0.5")
      .expectFailure(64, saying: "--score_lower_bound")
    try prune("--prune_export_config", #"{"num_layers": 6"#).expectFailure(64, saying: "--prune_export_config", "JSON")
    try prune("--prune_export_config", "[]").expectFailure(64, saying: "--prune_export_config", "a list")
    try prune("--prune_export_config", "{}").expectFailure(64, saying: "--prune_export_config")
    try prune("--prune_export_config", #"{"num_layers": 99999999999999999999}"#).expectFailure(64, saying: "num_layers")
    try Program.run(["prune", "--prune_target_params", "3M"] + model).expectFailure(64, saying: "--output_hf_path")
    try Program.run(["prune", "--prune_target_params", "3M", "--output_hf_path", nowhere])
      .expectFailure(64, saying: "--hf_model_name_or_path")
    try Program.run(["prune", "--output_megatron_path", nowhere, "--prune_target_params", "3M"] + model)
      .expectFailure(64, saying: "--output_hf_path")
    try Program.run(["eval"] + model).expectFailure(1, saying: "--mmlu_dataset", "cais/mmlu")
    try Program.run(["generate"] + model).expectFailure(64, saying: "--prompt")
  }

  @Test func dashesAndUnderscoresAreTheSame() throws {
    let one = try Program.run(["plan", "--json", "--ss_channel_divisor", "32", "--top_k=3"] + model)
    let other = try Program.run(["plan", "--json", "--ss-channel-divisor=32", "--top-k", "3"] + model)
    one.expectSuccess()
    #expect(one.output == other.output)
    #expect(one.json?["candidates"]?.array?.count == 3)
  }

  @Test func hyperparametersToSkipMayBeEmpty() throws {
    let plain = try Program.run(["plan", "--json"] + model)
    plain.expectSuccess()
    #expect(try Program.run(["plan", "--hparams_to_skip", "--json"] + model).output == plain.output)
    #expect(try Program.run(["plan", "--json"] + model + ["--hparams-to-skip"]).output == plain.output)
    let skipped = try Program.run(["plan", "--json", "--hparams_to_skip", "num_layers hidden_size"] + model)
    #expect(
      skipped.output
        == (try Program.run(["plan", "--json", "--hparams_to_skip", "num_layers", "hidden_size"] + model)).output)
    #expect(skipped.json?["search_space"]?["num_layers"] == nil)
  }

  @Test func theReferencesNameStandsWhereverItIsTyped() throws {
    let help = try Program.run(["--help"], name: "prune_minitron")
    #expect(help.output.contains("USAGE: prune_minitron [<options>] --hf_model_name_or_path <path> --output_hf_path"))
    let wrong = try Program.run(["--prune_target_parms", "1"], name: "prune_minitron")
    wrong.expectFailure(64, saying: "'--prune_target_params'", "Usage: prune_minitron", "See 'prune_minitron --help'")
    let missing = try Program.run(["--output_hf_path", nowhere], name: "prune_minitron")
    missing.expectFailure(64, saying: "--hf_model_name_or_path", "See 'prune_minitron --help'")
    let bash = try Program.run(["--generate-completion-script", "bash"], name: "prune_minitron").output
    #expect(bash.contains("-F _prune_minitron prune_minitron"))
    let zsh = try Program.run(["--generate-completion-script", "zsh"], name: "prune_minitron").output
    #expect(zsh.hasPrefix("#compdef prune_minitron\n"))
    let fish = try Program.run(["--generate-completion-script", "fish"], name: "prune_minitron").output
    #expect(fish.contains("complete -c 'prune_minitron'"))
  }

  @Test func wrongUsageOfACommandIsAnsweredWithItsOwn() throws {
    try prune("--prune_target_parms", "1")
      .expectFailure(64, saying: "Usage: coppice prune ", "See 'coppice prune --help'", "--output_hf_path <path>")
    try Program.run(["plan", "--topk", "3"] + model)
      .expectFailure(64, saying: "'--top_k'", "Usage: coppice plan ", "See 'coppice plan --help'")
    try prune("--prune_export_config", #"{"foo": 1}"#)
      .expectFailure(64, saying: "\"foo\" is no hyperparameter. Known are")
  }

  @Test func hyperparametersAreCompleted() throws {
    let script = try Program.run(["--generate-completion-script", "bash"]).output
    for name in ["num_moe_experts", "moe_shared_expert_intermediate_size", "mamba_head_dim"] {
      #expect(script.contains(name))
    }
  }

  @Test(arguments: ["- a list", "--max-new", "--max-new-tokens", "-h", "--", "-", "--json", "-5", "---", "--a=--b-c"])
  func textMayBeginWithADash(_ prompt: String) throws {
    #expect(
      try Arguments.normalize(["--prompt", prompt, "--top-k", "3"], for: GenerateCommand.self)
        == ["--prompt=\(prompt)", "--top_k", "3"])
    #expect(
      try Arguments.normalize(["--prompt=\(prompt)", "--top-k=3"], for: GenerateCommand.self)
        == ["--prompt=\(prompt)", "--top_k=3"])
  }

  @Test func valuesAreLeftAsTheyAre() throws {
    func normalized(_ arguments: String...) throws -> [String] {
      try Arguments.normalize(arguments, for: PruneCommand.self)
    }
    #expect(
      try normalized("--output-hf-path", "-a-b", "--calib-dataset-name", "x-y", "-z-z", "w", "--seed", "-5", "--quiet")
        == [
          "--output_hf_path=-a-b", "--calib_dataset_name", "x-y", "--calib_dataset_name=-z-z", "w", "--seed=-5",
          "--quiet",
        ])
    #expect(try normalized("--calib-dataset-name", "-z-z") == ["--calib_dataset_name=-z-z"])
    #expect(try normalized("--output-hf-path", "--odd-name") == ["--output_hf_path=--odd-name"])
    #expect(try normalized("--seed", "--json") == ["--seed", "--json"])
    #expect(try normalized("--json", "--", "--top-k") == ["--json", "--", "--top-k"])
    #expect(try normalized("--hparams-to-skip", "--json") == ["--json"])
    #expect(throws: (any Error).self) { try normalized("--output-hf-path", "--json") }
    #expect(throws: (any Error).self) { try normalized("--jsn") }
  }

  @Test func pathsThatBeginWithADashAreFound() throws {
    let result = try Program.shell(
      """
      ln -s '\(Program.model)' ./-model && "$COPPICE" inspect --hf_model_name_or_path -model --json
      """)
    result.expectSuccess()
    #expect(result.json?["params"]?.int == 3_935_936)
  }
}
