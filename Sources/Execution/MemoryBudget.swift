import Foundation
public import Torch

/// How much memory hidden states may take.
public enum MemoryBudget {
  /// 60% of what is free; at least 256 MiB.
  public static func automatic() -> Int { max(Int(Double(free()) * 0.6), 256 << 20) }

  /// The memory that is free on this machine, and in the control groups that this process is in.
  public static func free() -> Int {
    let free = systemAvailable() ?? 4 << 30
    return groupFree().map { min(free, $0) } ?? free
  }

  /// 60% of a device's free memory: the rest is for two layers and their activations.
  public static func automatic(device: Device) -> Int {
    guard let memory = try? device.memory() else { return 0 }
    return Int(Double(memory.free) * 0.6)
  }

  private static func systemAvailable() -> Int? {
    guard let text = try? String(contentsOfFile: "/proc/meminfo", encoding: .utf8) else { return nil }
    return fields(text)["MemAvailable:"].map { $0 * 1024 }
  }

  /// What the tightest memory limit of Linux's control groups leaves: version 2, and version 1 where the memory
  /// controller still has a hierarchy of its own.
  ///
  /// - Parameters:
  ///   - root: where the file systems are mounted.
  ///   - membership: what `/proc/self/cgroup` holds.
  package static func groupFree(root: String = "/sys/fs/cgroup", membership: String? = nil) -> Int? {
    let text = membership ?? (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
    var least: Int?
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard parts.count == 3 else { continue }
      let found: Int?
      if parts[1].isEmpty {
        found = free(root, String(parts[2]), limit: "memory.max", used: "memory.current", cache: "")
      } else if parts[1].split(separator: ",").contains("memory") {
        found = free(
          root + "/memory", String(parts[2]), limit: "memory.limit_in_bytes", used: "memory.usage_in_bytes",
          cache: "total_")
      } else {
        continue
      }
      if let found { least = min(least ?? found, found) }
    }
    return least
  }

  /// The least that a group or one of those around it leaves. In a container the path may be one that only the host
  /// sees; the mounted root is the container's own then.
  private static func free(_ mount: String, _ path: String, limit: String, used: String, cache: String) -> Int? {
    var least: Int?
    var components = path.split(separator: "/").map(String.init)
    while true {
      let folder = ([mount] + components).joined(separator: "/")
      if let most = number(folder + "/" + limit), let now = number(folder + "/" + used) {
        // Files' pages count as used and are given back when somebody wants the memory.
        let statistics = fields((try? String(contentsOfFile: folder + "/memory.stat", encoding: .utf8)) ?? "")
        let files = ["inactive_file", "active_file"].reduce(0) { $0 + (statistics[cache + $1] ?? 0) }
        let left = max(most - max(now - files, 0), 0)
        least = min(least ?? left, left)
      }
      if components.popLast() == nil { return least }
    }
  }

  private static func number(_ path: String) -> Int? {
    (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
      Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
    }
  }

  /// `name 123 …` line by line.
  private static func fields(_ text: String) -> [String: Int] {
    var fields: [String: Int] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count > 1, let value = Int(words[1]) { fields[String(words[0])] = value }
    }
    return fields
  }
}
