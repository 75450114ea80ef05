import CoppiceCommands

Entry.run(Coppice.self)
