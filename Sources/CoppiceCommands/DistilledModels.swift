import ArgumentParser
import Jobs
import Training

/// Who learns from whom, and where the result goes.
struct DistilledModels: ParsableArguments {
  @Option(
    name: .flag("student_hf_path"), parsing: .unconditional,
    help: ArgumentHelp("The checkpoint that learns: a directory or a name of the hub.", valueName: "path"),
    completion: .directory)
  var student: String

  @Option(
    name: .flag("teacher_hf_path"), parsing: .unconditional,
    help: ArgumentHelp(
      "The checkpoint that it learns from, with the same tokenizer: a directory or a name of the hub.",
      valueName: "path"), completion: .directory)
  var teacher: String

  @Option(
    name: .flag("output_dir"), parsing: .unconditional,
    help: ArgumentHelp("Where states, metrics and the trained model go.", valueName: "path"), completion: .directory)
  var output: String

  @Option(
    name: .flag("hf_export_path"), parsing: .unconditional,
    help: ArgumentHelp("Where the trained model goes (default: hf in --output_dir).", valueName: "path"),
    completion: .directory)
  var exported: String?

  @Option(
    name: .flag("student_hf_model"), parsing: .unconditional,
    help: ArgumentHelp(
      "The architecture of the result, which is the student's: has to be --student_hf_path.", valueName: "path"))
  var studentModel: String?

  @Option(
    name: .flag("student_megatron_path"), parsing: .unconditional,
    help: ArgumentHelp("Refused: checkpoints are Hugging Face's here.", valueName: "path"))
  var megatron: String?

  mutating func validate() throws {
    if megatron != nil {
      throw ValidationError(
        "--student_megatron_path: Megatron's checkpoints are pickles of Python objects, which are not read; export the student to Hugging Face's layout and give it as --student_hf_path"
      )
    }
    guard TeacherCache.Precision(rawValue: bits) != nil else {
      throw ValidationError("--teacher_cache_bits can be 8 or 16, not \(bits)")
    }
    guard bits == TeacherCache.Precision.computed.rawValue || teacherCache != nil else {
      throw ValidationError("--teacher_cache_bits is about --teacher_cache, which is not given")
    }
    if let studentModel, studentModel != student {
      throw ValidationError(
        "--student_hf_model \(studentModel) should be --student_hf_path \(student): the result has the student's architecture"
      )
    }
  }

  @Option(
    name: .flag("teacher_cache"), parsing: .unconditional,
    help: ArgumentHelp(
      "Keep the teacher's last states here, so that it computes each row once, for this run and others on the same rows.",
      valueName: "path"), completion: .directory)
  var teacherCache: String?

  @Option(
    name: .flag("teacher_cache_bits"),
    help: ArgumentHelp(
      "Bits of a number there: 16, as it is computed (float32: 32), or 8, with a scale of each 64 channels.",
      valueName: "bits"))
  var bits = TeacherCache.Precision.computed.rawValue

  @Option(
    name: .flag("teacher_cache_topk"),
    help: ArgumentHelp(
      "Keep its k likeliest tokens there in place of states, with one probability of all others; the divergence is of these k + 1.",
      valueName: "k"))
  var topK: Int?

  func apply(to request: inout DistillRequest) {
    (request.exported, request.teacherCache) = (exported, teacherCache)
    request.teacherPrecision = TeacherCache.Precision(rawValue: bits) ?? .computed
    request.teacherTopK = topK
  }
}
