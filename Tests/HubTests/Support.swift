import Files
import Foundation
import Testing

import Hub

/// A directory of a test's own, removed with it.
final class Scratch {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "hub-tests-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func at(_ name: String) -> String { path + "/" + name }

  @discardableResult func write(_ name: String, _ text: String) throws -> String {
    let folder = URL(fileURLWithPath: at(name)).deletingLastPathComponent()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try Data(text.utf8).write(to: URL(fileURLWithPath: at(name)))
    return at(name)
  }

  func link(_ name: String, to target: String) throws {
    let folder = URL(fileURLWithPath: at(name)).deletingLastPathComponent()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try FileManager.default.createSymbolicLink(atPath: at(name), withDestinationPath: target)
  }
}

/// An environment of so many variables, with a home or without one.
func environment(_ variables: [String: String], home: String? = nil) -> Environment {
  Environment(lookup: { variables[$0] }, passwordHome: { home })
}

/// What an error says; nil when there is none.
func message(_ body: () throws -> Void) -> String? {
  do { try body() } catch { return "\(error)" }
  return nil
}
