import Foundation
public import Models
import Torch

/// How much memory hidden states may take.
public enum MemoryBudget {
  /// What is free on this machine (and in this cgroup), less a margin: at least 256 MiB.
  public static func automatic() -> Int {
    var free = systemAvailable() ?? 4 << 30
    if let limit = cgroupFree() { free = min(free, limit) }
    return max(Int(Double(free) * 0.6), 256 << 20)
  }

  private static func systemAvailable() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return nil }
    for line in text.split(separator: "\n") where line.hasPrefix("MemAvailable:") {
      return line.split(separator: " ").dropFirst().first.flatMap { Int($0) }.map { $0 * 1024 }
    }
    return nil
  }

  private static func cgroupFree() -> Int? {
    func number(_ path: String) -> Int? {
      (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
        Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    guard let limit = number("/sys/fs/cgroup/memory.max") else { return nil }
    return limit - (number("/sys/fs/cgroup/memory.current") ?? 0)
  }
}

extension Executor {
  /// Splits batches into runs whose hidden states fit `budget` bytes for all subjects at once. Each run reads
  /// the weights once; at least one batch goes into each.
  public func chunks(_ batches: [TokenBatch], subjects: [Selection], budget: Int) -> [[TokenBatch]] {
    let sizes = weights.model.description.sizes
    let channels = subjects.reduce(0) { $0 + ($1.kept(.hidden, layer: nil)?.count ?? sizes[.hidden]) }
    var chunks: [[TokenBatch]] = []
    var used = Int.max
    for batch in batches {
      let bytes = batch.rows.count * batch.width * channels * weights.dtype.byteCount
      if chunks.isEmpty || used > budget - bytes {
        chunks.append([])
        used = 0
      }
      chunks[chunks.count - 1].append(batch)
      used += bytes
    }
    return chunks
  }
}
