public import ArgumentParser
import Jobs

/// `coppice`: the root of all commands.
public struct Coppice: ParsableCommand {
  public static let configuration = CommandConfiguration(
    commandName: "coppice",
    abstract: "Prune a language model to a budget with NVIDIA's Minitron algorithm.",
    discussion: """
      Reads a Hugging Face checkpoint, ranks channels, heads and layers by their activations on calibration text,
      searches the architectures that fit a budget, scores the best ones and writes a smaller checkpoint.
      """,
    version: coppiceVersion,
    subcommands: [
      PruneCommand.self, DistillCommand.self, PlanCommand.self, InspectCommand.self, FamiliesCommand.self,
      EvalCommand.self,
      GenerateCommand.self, CalibrateCommand.self, RenderCommand.self, EncodeCommand.self, DecodeCommand.self,
      TokenizeCommand.self,
      DownloadCommand.self,
      LoginCommand.self, CacheCommand.self, DoctorCommand.self,
    ])

  public init() {}
}
