/// The version of Coppice, as `--version` says it and results record it.
public let coppiceVersion = "0.1.0"
