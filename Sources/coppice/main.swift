import CoppiceCommands

// The wheel has one program for both names.
if Entry.isNamed(PruneMinitronCommand.self) {
  Entry.run(PruneMinitronCommand.self, arguments: Entry.arguments(of: PruneMinitronCommand.self))
} else {
  Entry.run(Coppice.self)
}
