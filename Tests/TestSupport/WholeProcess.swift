import Foundation

/// What is the whole process's, such as the instruction set that kernels use: tests that change it, and tests that expect the same
/// numbers to the last bit twice, do not run at once.
public enum WholeProcess {
  private static let lock = NSRecursiveLock()

  public static func alone<T>(_ body: () throws -> T) rethrows -> T {
    lock.lock()
    defer { lock.unlock() }
    return try body()
  }
}
