import CoppiceCommands

// The wheel has one program for both names.
Entry.run(Entry.isNamed(PruneMinitronCommand.self) ? PruneMinitronCommand.self : Coppice.self)
