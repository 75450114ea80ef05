import Files

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

func parentProcess() -> Int { Int(getppid()) }

extension WorldSettings {
  /// What `srun` says. A batch script and the shell of an allocation have many of its variables, too, but are no step, or one
  /// of Slurm's own.
  static func slurm(_ environment: Environment) throws -> WorldSettings? {
    let variables = Variables(environment: environment, launcher: "Slurm")
    // Steps of Slurm's own have numbers at the end of 32 bits: batch script, interactive shell, external.
    guard let step = (variables["SLURM_STEP_ID"] ?? variables["SLURM_STEPID"]).flatMap({ Int($0) }),
      (0..<0xFFFF_FFF0).contains(step)
    else { return nil }
    let sizeName = variables["SLURM_STEP_NUM_TASKS"] == nil ? "SLURM_NTASKS" : "SLURM_STEP_NUM_TASKS"
    guard try variables["SLURM_PROCID"] != nil || (variables.number(sizeName) ?? 1) > 1 else { return nil }
    let all = try variables.ranks("SLURM_PROCID", of: sizeName)
    guard all.size > 1 else { return nil }
    let node = try variables.number("SLURM_NODEID") ?? 0
    let localRank = try variables.needed("SLURM_LOCALID", beside: "SLURM_PROCID")
    let counts = variables["SLURM_STEP_TASKS_PER_NODE"] ?? variables["SLURM_TASKS_PER_NODE"]
    let localSize =
      try counts.flatMap { tasks(on: node, of: $0) } ?? variables.number("SLURM_NTASKS_PER_NODE", 1...Variables.limit)
      ?? 1
    guard localRank < localSize, localSize <= all.size else {
      throw RankError(
        .environment,
        """
        Slurm's variables contradict each other: SLURM_LOCALID=\(localRank) of \(localSize) tasks on node \(node) \
        (\(counts ?? "SLURM_NTASKS_PER_NODE")), and \(all.size) tasks in all. Start the program by srun itself
        """)
    }
    let list =
      variables["SLURM_STEP_NODELIST"] ?? variables["SLURM_JOB_NODELIST"] ?? variables["SLURM_NODELIST"] ?? ""
    let jobID = variables["SLURM_JOB_ID"] ?? variables["SLURM_JOBID"] ?? "0"
    let restart = variables["SLURM_RESTART_COUNT"] ?? "0"
    let host: String
    if let given = variables["MASTER_ADDR"] {
      host = given
    } else if localSize == all.size {
      return WorldSettings(
        .slurm, rank: all.rank, size: all.size, localRank: localRank, localSize: localSize,
        rendezvous: .local(name: "slurm-\(jobID)-\(step)-\(restart)"), job: "slurm/\(jobID).\(step)/\(restart)")
    } else if let first = firstHost(of: list) {
      host = first
    } else {
      throw RankError(
        .environment,
        """
        no machine can be read of Slurm's list \(list.prefix(60).debugDescription): set MASTER_ADDR to the machine of rank 0, \
        for all tasks
        """)
    }
    let port = try variables.port("MASTER_PORT") ?? port(job: Int(jobID) ?? 0, step: step)
    return WorldSettings(
      .slurm, rank: all.rank, size: all.size, localRank: localRank, localSize: localSize,
      rendezvous: .served(host: host, port: port, listener: nil), job: "slurm/\(jobID).\(step)/\(restart)")
  }

  /// A port below those that systems give to connections, another one for each of the last jobs and steps.
  package static func port(job: Int, step: Int) -> UInt16 {
    UInt16(20000 + Int((UInt(bitPattern: job) &* 31 &+ UInt(bitPattern: step)) % 10000))
  }

  /// The tasks of a node by a list such as `4(x2),3`: nodes 0 and 1 have four, node 2 has three.
  package static func tasks(on node: Int, of list: String) -> Int? {
    var before = 0
    for item in list.split(separator: ",") {
      let parts = item.split(separator: "(", maxSplits: 1, omittingEmptySubsequences: false)
      guard let tasks = parts.first.flatMap({ Int($0) }), (1...Variables.limit).contains(tasks) else { return nil }
      var times = 1
      if parts.count == 2 {
        guard parts[1].hasPrefix("x"), parts[1].hasSuffix(")"), let number = Int(parts[1].dropFirst().dropLast()),
          (1...Variables.limit).contains(number)
        else { return nil }
        times = number
      }
      before += times
      if node < before { return tasks }
      if before > Variables.limit { return nil }
    }
    return nil
  }

  /// The first machine of a list such as `gpu[01-03,07]-ib,login`: `gpu01-ib`.
  package static func firstHost(of list: String) -> String? {
    var name = ""
    var rest = list[...]
    while let character = rest.popFirst(), character != "," {
      guard character == "[" else {
        name.append(character)
        continue
      }
      guard let end = rest.firstIndex(of: "]") else { return nil }
      let first = rest[..<end].prefix { $0 != "," && $0 != "-" }
      guard !first.isEmpty, first.allSatisfy(\.isNumber) else { return nil }
      name += first
      rest = rest[rest.index(after: end)...]
    }
    let isName = name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "]") && $0 != UInt8(ascii: "/") }
    return name.isEmpty || name.utf8.count > 255 || !isName ? nil : name
  }
}
