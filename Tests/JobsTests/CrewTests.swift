import Jobs
import Testing

struct CrewTests {
  /// Files are hashed where their layers are, and as evenly as that allows.
  @Test func ranksHashWhatTheyRead() throws {
    let layout = try CrewLayout(costs: [1, 1, 1, 1], ranks: 4, stages: 2)
    let files = (1...6).map { (name: "\($0)", size: $0 == 6 ? 10 : 100) }
    let stages = ["1": Set([0]), "2": [0], "3": [0, 1], "4": [1], "5": [1]]
    let dealt = SharedHashes.dealt(files, stages: stages, layout)
    #expect(dealt.joined().sorted() == files.map(\.name), "each by one rank")
    for (rank, names) in dealt.enumerated() {
      #expect(names.allSatisfy { stages[$0]?.contains(rank % 2) ?? true }, "\(dealt)")
      #expect(names.filter { $0 != "6" }.count <= 2)
    }
    // An embedding's file belongs to no layer: whoever has least to do.
    #expect(dealt.contains(["6"]) || dealt.contains { $0.count == 2 && $0.contains("6") })
    let alike = SharedHashes.dealt(files, stages: [:], try CrewLayout(costs: [1, 1, 1], ranks: 3, stages: 3))
    #expect(alike.map(\.count) == [2, 2, 2])
  }
}
