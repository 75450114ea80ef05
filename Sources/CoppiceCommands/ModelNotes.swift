import Checkpoint
import Models
import Report

extension Console {
  /// Says what of a checkpoint is left out, and warns of what in it does not fit together.
  func say(of model: SourceModel) {
    for note in model.notes { self.note(note) }
    for warning in model.checkpoint.indexNotes { warn(warning) }
  }
}
