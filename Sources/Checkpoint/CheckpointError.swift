public import Files

/// Why a checkpoint cannot be read or written.
public typealias CheckpointError = FileError
