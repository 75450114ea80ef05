import Files
import Ranks
import Testing

/// Variables as launchers set them.
@Suite struct EnvironmentTests {
  private func found(_ variables: [String: String]) throws -> WorldSettings? {
    try WorldSettings.found(in: Environment(lookup: { variables[$0] }, passwordHome: { nil }))
  }

  private static let torchrun = [
    "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "job7", "TORCHELASTIC_RESTART_COUNT": "2",
    "TORCHELASTIC_USE_AGENT_STORE": "True", "OMP_NUM_THREADS": "1",
  ]

  @Test func withoutALauncherThereIsOneProcess() throws {
    #expect(try found([:]) == nil)
    #expect(try found(["PATH": "/bin", "MASTER_ADDR": "node1", "MASTER_PORT": "1", "LOCAL_RANK": "0"]) == nil)
  }

  @Test func torchrunServesTheStoreItself() throws {
    let settings = try #require(try found(Self.torchrun))
    #expect(settings.source == .torchrun)
    #expect([settings.rank, settings.size] == [3, 4])
    #expect([settings.localRank, settings.localSize] == [1, 2])
    #expect(settings.rendezvous == .agent(host: "node1", port: 29500))
    #expect(settings.job == "torch/job7/2")
    #expect(!settings.isOneMachine)
  }

  @Test func ranksByHandHaveRankZeroServe() throws {
    let settings = try #require(
      try found(["RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "4000"]))
    #expect(settings.source == .environment)
    #expect(settings.rendezvous == .served(host: "10.0.0.1", port: 4000, listener: nil))
    #expect(!settings.isOneMachine)
  }

  @Test func onOneMachineNoAddressIsNeeded() throws {
    let settings = try #require(try found(["RANK": "1", "WORLD_SIZE": "2"]))
    #expect(settings.isOneMachine)
    guard case .local = settings.rendezvous else {
      Issue.record("\(settings.rendezvous)")
      return
    }
  }

  private static let openMPI = [
    "OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2", "OMPI_COMM_WORLD_NODE_RANK": "1", "OMPI_UNIVERSE_SIZE": "2", "PMIX_RANK": "1",
    "PMIX_NAMESPACE": "1713635329",
  ]

  @Test func openMPIOnOneMachineMeetsByItsJob() throws {
    let settings = try #require(try found(Self.openMPI))
    #expect(settings.source == .openMPI)
    #expect([settings.rank, settings.size, settings.localRank, settings.localSize] == [1, 2, 1, 2])
    var other = Self.openMPI
    other["PMIX_NAMESPACE"] = "1713635330"
    #expect(try found(other)?.rendezvous != settings.rendezvous)
  }

  @Test func openMPIOnSeveralMachinesNeedsAnAddress() throws {
    var variables = Self.openMPI
    variables["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1"
    variables["OMPI_COMM_WORLD_LOCAL_RANK"] = "0"
    let error = #expect(throws: RankError.self) { try found(variables) }
    #expect(error?.description.contains("mpirun -x MASTER_ADDR") == true)
    variables["MASTER_ADDR"] = "node1"
    #expect(throws: RankError.self) { try found(variables) }
    variables["MASTER_PORT"] = "4000"
    #expect(try found(variables)?.rendezvous == .served(host: "node1", port: 4000, listener: nil))
  }

  @Test func hydraGivesRanksByPMI() throws {
    let settings = try #require(
      try found([
        "PMI_RANK": "0", "PMI_SIZE": "3", "PMI_FD": "7", "MPI_LOCALRANKID": "0", "MPI_LOCALNRANKS": "3",
      ]))
    #expect(settings.source == .pmi)
    #expect(settings.isOneMachine)
    #expect(settings.size == 3)
  }

  private static let srun = [
    "SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1", "SLURM_NODEID": "1",
    "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "4711", "SLURM_STEP_TASKS_PER_NODE": "4(x2)",
    "SLURM_JOB_NODELIST": "gpu[03-04]",
    "SLURM_STEP_NODELIST": "gpu[03-04]", "SLURM_NNODES": "2",
  ]

  @Test func srunGivesRanksAndTheFirstMachine() throws {
    let settings = try #require(try found(Self.srun))
    #expect(settings.source == .slurm)
    #expect([settings.rank, settings.size, settings.localRank, settings.localSize] == [5, 8, 1, 4])
    #expect(
      settings.rendezvous
        == .served(host: "gpu03", port: WorldSettings.port(job: 4711, step: 0), listener: nil))
    #expect(settings.job == "slurm/4711.0/0")
  }

  @Test func aBatchScriptAndAnAllocationsShellAreNoRanks() throws {
    var script = Self.srun
    script["SLURM_STEP_ID"] = nil
    script["SLURM_PROCID"] = "0"
    #expect(try found(script) == nil)
    // Slurm's own steps: interactive, batch.
    for step in ["4294967290", "4294967291"] {
      script["SLURM_STEP_ID"] = step
      #expect(try found(script) == nil)
    }
    var single = Self.srun
    single["SLURM_PROCID"] = "0"
    single["SLURM_STEP_NUM_TASKS"] = "1"
    single["SLURM_STEP_TASKS_PER_NODE"] = "1"
    #expect(try found(single) == nil)
  }

  @Test func torchrunAndMpirunInAnAllocationAreBelievedBeforeSlurm() throws {
    #expect(try found(Self.srun.merging(Self.torchrun) { $1 })?.source == .torchrun)
    #expect(try found(Self.srun.merging(Self.openMPI) { $1 })?.source == .openMPI)
    // srun speaks PMI as well.
    #expect(try found(Self.srun.merging(["PMI_RANK": "5", "PMI_SIZE": "8"]) { $1 })?.source == .slurm)
  }

  @Test(arguments: [
    ("gpu[01-03,07]-ib,login", "gpu01-ib"), ("node7", "node7"), ("a[1-2]b[3-4]", "a1b3"),
    ("n-1.cluster,n-2", "n-1.cluster"),
    ("rack[7,9]", "rack7"),
  ])
  func firstMachineOfAList(_ list: String, _ first: String) {
    #expect(WorldSettings.firstHost(of: list) == first)
  }

  @Test(arguments: [
    "", ",", "[", "gpu[", "gpu[]", "gpu[a-b]", "gpu[-3]", "]", "a/b", "a b", "\u{0}",
    String(repeating: "x", count: 300),
  ])
  func listsThatNameNoMachine(_ list: String) { #expect(WorldSettings.firstHost(of: list) == nil) }

  @Test func tasksOfANode() {
    #expect([0, 1, 2, 3].map { WorldSettings.tasks(on: $0, of: "4(x2),3") } == [4, 4, 3, nil])
    for list in [
      "", "x", "0", "-1", "4(", "4()", "4(x)", "4(x-1)", "4(x99999999999999999999)", "4(x1048577)", "9999999999",
    ] {
      #expect(WorldSettings.tasks(on: 0, of: list) == nil, "\(list)")
    }
  }

  @Test func portsOfJobsDifferAndAreBelowTheSystems() {
    #expect(WorldSettings.port(job: 1, step: 0) != WorldSettings.port(job: 1, step: 1))
    #expect(WorldSettings.port(job: 1, step: 0) != WorldSettings.port(job: 2, step: 0))
    for job in [0, 1, -1, Int.max, Int.min] {
      #expect((20000..<30000).contains(WorldSettings.port(job: job, step: Int.max)))
    }
  }

  /// Each has one thing wrong, and is answered with the variable's name.
  @Test(arguments: [
    (["RANK": "0"], "WORLD_SIZE"), (["WORLD_SIZE": "2"], "RANK"), (["RANK": "2", "WORLD_SIZE": "2"], "RANK=2"),
    (["RANK": "-1", "WORLD_SIZE": "2"], "RANK=\"-1\""), (["RANK": "0", "WORLD_SIZE": "two"], "WORLD_SIZE=\"two\""),
    (["RANK": "0", "WORLD_SIZE": "99999999999999999999999"], "WORLD_SIZE"),
    (["RANK": "0", "WORLD_SIZE": "0"], "WORLD_SIZE"),
    (["RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"], "MASTER_PORT"),
    (["RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "65536"], "MASTER_PORT"),
    (["RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "2"], "LOCAL_RANK"),
    (["RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "3"], "LOCAL_WORLD_SIZE"),
    (["RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"], "MASTER_ADDR"),
    (["OMPI_COMM_WORLD_RANK": "0"], "OMPI_COMM_WORLD_SIZE"), (["PMI_SIZE": "2"], "PMI_RANK"),
    (["OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"], "OMPI_COMM_WORLD_LOCAL_SIZE"),
    (["SLURM_STEP_ID": "0", "SLURM_PROCID": "0"], "SLURM_NTASKS"),
    (["SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"], "SLURM_LOCALID"),
    (
      [
        "SLURM_STEP_ID": "0", "SLURM_PROCID": "1", "SLURM_NTASKS": "2", "SLURM_LOCALID": "1",
        "SLURM_TASKS_PER_NODE": "1(x2)",
      ], "SLURM_LOCALID=1"
    ),
    (
      [
        "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_LOCALID": "0",
        "SLURM_TASKS_PER_NODE": "1(x2)", "SLURM_NODELIST": "gpu[",
      ], "MASTER_ADDR"
    ),
    (["COPPICE_RANK": "0"], "COPPICE_WORLD_SIZE"), (["COPPICE_RANK": "0", "COPPICE_WORLD_SIZE": "2"], "COPPICE_PORT"),
  ])
  func variablesThatCannotBe(_ variables: [String: String], _ word: String) {
    let error = #expect(throws: RankError.self) { try found(variables) }
    #expect(error?.kind == .environment)
    #expect(error?.description.contains(word) == true, "\(error?.description ?? "")")
  }

  @Test func anyTextIsAnAnswerNeverATrap() {
    let names = [
      "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMPI_COMM_WORLD_RANK",
      "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE",
      "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_TASKS_PER_NODE",
      "SLURM_NODELIST", "SLURM_JOB_ID", "COPPICE_RANK", "COPPICE_WORLD_SIZE", "COPPICE_PORT", "TORCHELASTIC_RUN_ID",
    ]
    let values = [
      "", "0", "1", "2", "-1", "9223372036854775807", "-9223372036854775808", "99999999999999999999", "1e3", " 1",
      "0x1",
      "a[1-", "[", "2(x2)", "\u{FFFD}\n", "١", String(repeating: "9", count: 5000),
    ]
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<3000 {
      var variables: [String: String] = [:]
      for name in names where Bool.random(using: &generator) {
        variables[name] = values.randomElement(using: &generator)
      }
      do { _ = try found(variables) } catch { #expect(error is RankError) }
    }
  }
}
