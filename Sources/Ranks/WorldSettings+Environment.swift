public import Files
import Messages

extension WorldSettings {
  /// What the environment says of this process among those that a launcher has started; nil when there is no launcher, or
  /// it has started this process alone.
  ///
  /// Variables are believed in this order: Coppice's own launcher, torchrun (and `RANK` with `WORLD_SIZE` set by hand),
  /// Open MPI, PMI (MPICH, Intel MPI, Hydra), Slurm. In an allocation of Slurm the others start by its variables, too.
  ///
  /// - Throws: `RankError`, environment: variables that are incomplete or contradict each other.
  public static func found(in environment: Environment = .process) throws -> WorldSettings? {
    var found = try own(environment) ?? torchrun(environment) ?? openMPI(environment) ?? pmi(environment)
    if found == nil { found = try slurm(environment) }
    guard var settings = found, settings.size > 1 else { return nil }
    settings.address = environment["COPPICE_ADDRESS"]
    settings.interface = environment["GLOO_SOCKET_IFNAME"].flatMap { $0.split(separator: ",").first.map(String.init) }
    settings.host = environment["COPPICE_HOST"]
    let variables = Variables(environment: environment, launcher: "somebody")
    if let seconds = try variables.number("COPPICE_JOIN_TIMEOUT", 1...86400) { settings.joinTimeout = Double(seconds) }
    return settings
  }

  /// What Coppice's launcher tells its processes.
  public enum Own {
    public static let rank = "COPPICE_RANK"
    public static let size = "COPPICE_WORLD_SIZE"
    public static let port = "COPPICE_PORT"
    /// The socket that rank 0 takes over.
    public static let listener = "COPPICE_LISTENER"
    public static let news = "COPPICE_NEWS"
    public static let job = "COPPICE_JOB"
    /// The launcher's process: a process that is not its child was given somebody else's environment.
    public static let parent = "COPPICE_LAUNCHER"
  }

  private static func own(_ environment: Environment) throws -> WorldSettings? {
    let variables = Variables(environment: environment, launcher: "coppice")
    guard variables[Own.rank] != nil else { return nil }
    let (rank, size) = try variables.ranks(Own.rank, of: Own.size)
    let port = UInt16(try variables.needed(Own.port, beside: Own.rank, 1...65535))
    let listener = try variables.number(Own.listener, 3...65535).map { Int32($0) }
    var settings = WorldSettings(
      .own, rank: rank, size: size, localRank: rank, localSize: size,
      rendezvous: .served(host: "127.0.0.1", port: port, listener: rank == 0 ? listener : nil),
      job: variables[Own.job] ?? "own")
    if rank == 0 { settings.news = try variables.number(Own.news, 3...65535).map { Int32($0) } }
    return settings
  }

  private static func torchrun(_ environment: Environment) throws -> WorldSettings? {
    let run = environment["TORCHELASTIC_RUN_ID"]
    let variables = Variables(environment: environment, launcher: run == nil ? "somebody" : "torchrun")
    guard variables["RANK"] != nil || (variables["WORLD_SIZE"] ?? "1") != "1" else { return nil }
    let all = try variables.ranks("RANK", of: "WORLD_SIZE")
    guard all.size > 1 else { return nil }
    let host = variables["MASTER_ADDR"]
    let hasLocals = variables["LOCAL_RANK"] != nil && variables["LOCAL_WORLD_SIZE"] != nil
    // People who set the others by hand leave them out: how many ranks a machine has shows when they have met.
    let isHere = host.map(isLoopback) ?? true
    let local =
      hasLocals ? try variables.locals("LOCAL_RANK", of: "LOCAL_WORLD_SIZE", within: all) : isHere ? all : (0, 1)
    let restart = try variables.number("TORCHELASTIC_RESTART_COUNT") ?? 0
    let job = "torch/\(run ?? "")/\(restart)"
    let rendezvous: Rendezvous
    if let host {
      guard let port = try variables.port("MASTER_PORT") else {
        throw RankError(
          .environment,
          "MASTER_ADDR is set to \(host), but not MASTER_PORT: set it to a free port, the same for all ranks")
      }
      let hasAgent = ["True", "true", "1"].contains(variables["TORCHELASTIC_USE_AGENT_STORE"] ?? "")
      rendezvous = hasAgent ? .agent(host: host, port: port) : .served(host: host, port: port, listener: nil)
    } else if hasLocals, local.1 < all.size {
      throw needsAddress("RANK and LOCAL_WORLD_SIZE say that there are several machines", all.size)
    } else {
      rendezvous = .local(name: "torch-\(run ?? "none")-\(restart)")
    }
    return WorldSettings(
      run == nil ? .environment : .torchrun, rank: all.rank, size: all.size, localRank: local.0, localSize: local.1,
      rendezvous: rendezvous, job: job)
  }

  private static func openMPI(_ environment: Environment) throws -> WorldSettings? {
    let variables = Variables(environment: environment, launcher: "mpirun")
    let names = (rank: "OMPI_COMM_WORLD_RANK", size: "OMPI_COMM_WORLD_SIZE")
    guard variables[names.rank] != nil || variables[names.size] != nil else { return nil }
    let all = try variables.ranks(names.rank, of: names.size)
    guard all.size > 1 else { return nil }
    let local = try variables.locals("OMPI_COMM_WORLD_LOCAL_RANK", of: "OMPI_COMM_WORLD_LOCAL_SIZE", within: all)
    let name = [variables["PMIX_NAMESPACE"], variables["OMPI_MCA_orte_hnp_uri"] ?? variables["PMIX_SERVER_URI2"]]
      .compactMap { $0 }.joined(separator: " ")
    return try WorldSettings(
      .openMPI, rank: all.rank, size: all.size, localRank: local.0, localSize: local.1,
      rendezvous: rendezvous(variables, all.size, local.1, name: "ompi-\(name)"),
      job: "ompi/\(variables["PMIX_NAMESPACE"] ?? "")")
  }

  private static func pmi(_ environment: Environment) throws -> WorldSettings? {
    let variables = Variables(environment: environment, launcher: "mpiexec")
    // Slurm's srun sets these, too, and more besides.
    guard variables["PMI_RANK"] != nil || variables["PMI_SIZE"] != nil else { return nil }
    let all = try variables.ranks("PMI_RANK", of: "PMI_SIZE")
    guard all.size > 1, variables["SLURM_STEP_ID"] == nil else { return nil }
    let local =
      variables["MPI_LOCALRANKID"] == nil || variables["MPI_LOCALNRANKS"] == nil
      ? all : try variables.locals("MPI_LOCALRANKID", of: "MPI_LOCALNRANKS", within: all)
    // Hydra gives its jobs no name. Its processes have one parent, the proxy of their machine.
    let name = variables["PMI_JOBID"] ?? variables["PMI_PORT"] ?? "parent-\(parentProcess())"
    return try WorldSettings(
      .pmi, rank: all.rank, size: all.size, localRank: local.0, localSize: local.1,
      rendezvous: rendezvous(variables, all.size, local.1, name: "pmi-\(name)"), job: "pmi")
  }

  /// Launchers that say nothing of an address: it is given by hand, and not needed on one machine.
  private static func rendezvous(
    _ variables: Variables, _ size: Int, _ localSize: Int, name: String
  ) throws -> Rendezvous {
    switch (variables["MASTER_ADDR"], try variables.port("MASTER_PORT")) {
    case (let host?, let port?): return .served(host: host, port: port, listener: nil)
    case (nil, nil) where localSize == size: return .local(name: name)
    case (nil, nil): throw needsAddress("\(variables.launcher) has started ranks on several machines", size)
    default:
      throw RankError(
        .environment,
        "MASTER_ADDR and MASTER_PORT belong together: give both to all ranks (mpirun -x MASTER_ADDR -x MASTER_PORT), or none"
      )
    }
  }

  private static func needsAddress(_ what: String, _ size: Int) -> RankError {
    RankError(
      .environment,
      """
      \(what), and none of the \(size) ranks knows where rank 0 is: set MASTER_ADDR to the machine of rank 0 and MASTER_PORT \
      to a free port, for all ranks (mpirun -x MASTER_ADDR=… -x MASTER_PORT=…; mpiexec -genv MASTER_ADDR …)
      """)
  }
}
