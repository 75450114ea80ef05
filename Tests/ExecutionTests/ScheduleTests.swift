import Execution
import Models
import TestSupport
import Testing

/// The order of a walk's work, without any model.
@Suite struct ScheduleTests {
  private func schedule(_ subjects: [[Int]], _ bands: [Range<Int>], overlays: [Int: any WeightOverlay] = [:])
    -> Schedule
  {
    let all = subjects.enumerated().map { Subject(Selection(layers: $1), overlay: overlays[$0]) }
    return Schedule(all, starts: subjects.map { _ in 0 }, bands: bands)
  }

  @Test func bandsOfOneLayerPutStatesAwayAfterEachLayer() {
    let schedule = schedule([[0, 1, 2]], [0..<1, 1..<2, 2..<3])
    #expect(schedule.legs.map { $0.steps.map(\.layer) } == [[0], [1], [2]])
    #expect(schedule.legs.map(\.before) == [[0], [1], [2]] && schedule.legs.map(\.after) == [[1], [2], [3]])
    #expect(schedule.legs.map(\.finished) == [[0], [1], [2]] && schedule.ends == [3])
    #expect(schedule.legs.allSatisfy { $0.steps.allSatisfy(\.isLastUse) })
  }

  @Test func aBandKeepsOnlyWhatComesOutAtItsEnd() {
    let schedule = schedule([[0, 1, 2, 3]], [0..<3, 3..<4])
    #expect(schedule.legs.map { $0.steps.map(\.layer) } == [[0, 1, 2], [3]])
    #expect(schedule.legs[0].kept == [3] && schedule.legs[0].before == [0])
    #expect(schedule.legs[0].finished == [0, 1, 2])
  }

  /// The second subject skips layer 1: what layer 0 gives is needed until then, and on its own way after it.
  @Test(arguments: [[0..<3], [0..<1, 1..<2, 2..<3], [0..<2, 2..<3]])
  func subjectsDivideWhereTheyDiffer(_ bands: [Range<Int>]) {
    let schedule = schedule([[0, 1, 2], [0, 2]], bands)
    let steps = schedule.legs.flatMap(\.steps)
    #expect(steps.map(\.layer) == [0, 1, 2, 2] && steps.map(\.members) == [[0, 1], [0], [0], [1]])
    #expect(steps.map(\.input) == [0, 1, 2, 1] && steps.map(\.output) == [1, 2, 3, 4])
    #expect(schedule.ends == [3, 4] && schedule.layers == [0, 1, 2])
    #expect(steps.map(\.isLastUse) == [true, false, true, true])
    // Of one layer only one group's weights are in memory at a time.
    #expect(schedule.legs.count == (bands.count == 1 ? 1 : bands.count == 2 ? 3 : 4))
    #expect(schedule.steps(of: 2) == 2)
  }

  @Test func whatIsKeptFollowsFromThePosition() {
    let schedule = schedule([[0, 1], [0]], [0..<1, 1..<2])
    // Both subjects end differently: the first goes on.
    #expect(schedule.legs.count == 3)
    #expect(schedule.kept(leg: 0, batches: 0, batch: 0) == [0])
    #expect(
      schedule.kept(leg: 0, batches: 1, batch: 0) == [0, 1] && schedule.kept(leg: 0, batches: 1, batch: 1) == [0])
    #expect(schedule.kept(leg: 3, batches: 0, batch: 0) == Set(schedule.ends))
  }

  private final class Nothing: WeightOverlay {
    func apply(_ weights: LayerWeights, of selection: Selection, layer: Int?) throws -> LayerWeights { weights }
  }

  @Test func overlaysAreSharedOnlyWithThemselves() {
    let (one, other) = (Nothing(), Nothing())
    let schedule = schedule([[0], [0], [0], [0]], [0..<1], overlays: [1: one, 2: other, 3: one])
    #expect(schedule.legs.flatMap(\.steps).map(\.members) == [[0], [1, 3], [2]])
  }

  @Test func bandsGrowOnlyWhereTheySaveTheDisk() {
    #expect(BandSize.best(count: 8, layerBytes: 10, stateBytes: 100, budget: 100).layers == 1)
    // Nothing fits beside the states.
    #expect(BandSize.best(count: 8, layerBytes: 200, stateBytes: 150, budget: 100).layers == 1)
    // Layers are small: all of them, and half of the states go to the disk and back once.
    let all = BandSize.best(count: 8, layerBytes: 1, stateBytes: 150, budget: 100)
    #expect(all.layers == 8 && all.reservedBytes == 7 && all.spilledBytes == 2 * 57)
    // No more than pays: a sixth layer would not make the bands fewer.
    #expect(BandSize.best(count: 9, layerBytes: 20, stateBytes: 500, budget: 100).layers == 5)
  }
}
