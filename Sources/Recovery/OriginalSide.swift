import Execution
import Models
import Torch

/// Sees the original's layer, and says what it gives at each site. All of it is kept when the batches first go through, if there
/// is room; else the original goes through the layer again for each site, as far as that.
final class OriginalSide: LinearObserver {
  private let layer: LayerDescription
  private let room: Int, tokens: Int
  private var finder: RefitSites
  private var sites: [RefitSite]?
  /// The site that is refitted now, and the batch.
  private var number = 0
  private(set) var batch = -1
  /// Of the batch: inputs by the first weight that reads them, and streams after branches.
  private var inputs: [Weight: Tensor] = [:]
  private var streams: [Int: Tensor] = [:]
  private var routed = RoutedInputs()
  /// What routed experts read, by the branch that they are in: `[T, C]`.
  private var entering: [Int: Tensor] = [:]
  /// Of each site and batch; nil where there is no room.
  private var kept: [[Tensor]]?

  /// - Parameters:
  ///   - room: bytes.
  ///   - tokens: of all batches.
  init(_ layer: LayerDescription, room: Int, tokens: Int) {
    (self.layer, self.room, self.tokens) = (layer, room, tokens)
    finder = RefitSites(layer)
  }

  func site(_ number: Int) -> RefitSite? { sites.flatMap { $0.indices.contains(number) ? $0[number] : nil } }

  var siteCount: Int { sites?.count ?? 0 }

  /// Bytes of it that are kept.
  private(set) var held = 0

  func begin(_ number: Int) {
    // Experts come in groups, with a pass for each.
    if number != self.number { kept?[self.number] = [] }
    (self.number, batch) = (number, -1)
    clear()
  }

  private func clear() { (inputs, streams, routed, entering) = ([:], [:], RoutedInputs(), [:]) }

  /// What the original gives at a site, of the batch that goes through: `[T, M]`.
  func aim(of number: Int) throws -> Tensor {
    if number > 0, let kept, kept[number].indices.contains(batch) { return kept[number][batch] }
    guard let site = site(number), let found = seen(site) else {
      throw ModelError("the original model does not come to site \(number + 1) of a layer")
    }
    return found
  }

  private func seen(_ site: RefitSite) -> Tensor? {
    if site.experts != nil { return entering[site.sublayer] }
    return site.aim == .stream ? streams[site.sublayer + 1] : site.weights.first.flatMap { inputs[$0] }
  }

  func observe(
    _ weight: Weight, bias: Weight?, routed: RoutedRows?, layer: Int, input: Tensor, lengths: [Int]?
  ) throws {
    if let routed {
      if sites == nil { finder.seeExperts(weight) }
      let site = (sites ?? finder.sites).first { $0.experts == .first && $0.weights.first == weight }
      guard let site, sites == nil || wants(site) || wants(experts: site.sublayer) else { return }
      return try self.routed.add(input, routed.tokens)
    }
    if let sites {
      guard let site = sites.first(where: { $0.weights.first == weight }), site.aim == .output, wants(site) else {
        return
      }
    } else {
      finder.see(weight, bias: bias, input)
      if finder.sites.last?.weights.first != weight { return }
    }
    // A block may use the memory again.
    inputs[weight] = try input.valid(lengths).clone()
    try endIfSeen()
  }

  func observeStream(_ sublayer: Int, layer: Int, state: Tensor, lengths: [Int]?) throws {
    if sublayer == 0 {
      batch += 1
      clear()
      if number > 0, kept != nil { throw SeenEnough() }
    }
    if !routed.isEmpty { entering[sublayer - 1] = try routed.take() }
    if sites == nil, sublayer < self.layer.sublayers.count { finder.enter(sublayer) }
    let isWanted = sites?.contains { $0.aim == .stream && $0.sublayer + 1 == sublayer && wants($0) } ?? (sublayer > 0)
    // The memory of the stream is used again.
    if isWanted { streams[sublayer] = try state.valid(lengths).clone() }
    if sublayer == self.layer.sublayers.count { try endBatch() }
    try endIfSeen()
  }

  /// Whether what a site gives is to be held: of all sites the first time, where there is room, later of the one at hand.
  private func wants(_ site: RefitSite) -> Bool {
    if number == 0, kept != nil { return true }
    return self.site(number)?.weights.first == site.weights.first
  }

  /// Whether the site at hand is of the experts of a branch.
  private func wants(experts sublayer: Int) -> Bool {
    site(number).map { $0.experts != nil && $0.sublayer == sublayer } ?? false
  }

  private func endIfSeen() throws {
    guard number > 0, let site = site(number), seen(site) != nil else { return }
    throw SeenEnough()
  }

  /// The first time that a batch has gone through.
  private func endBatch() throws {
    guard number == 0 else { return }
    if sites == nil {
      let found = finder.found()
      sites = found
      // Both sites of experts have the same.
      let width = found.reduce(0) {
        $0 + ($1.experts == .down ? 0 : seen($1).map { $0.shape[1] * $0.dtype.byteCount } ?? 0)
      }
      if width * tokens <= room { (kept, held) = (found.map { _ in [] }, width * tokens) }
    }
    guard kept != nil, let sites else { return }
    for (number, site) in sites.enumerated() where number > 0 {
      if let found = seen(site) { kept?[number].append(found) }
    }
  }
}
