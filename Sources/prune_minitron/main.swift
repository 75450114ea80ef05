import CoppiceCommands

// The reference's script by its own name: the flags of `prune_minitron.py` as they are.
Entry.run(PruneMinitronCommand.self)
