#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the environment says of places. A variable that is empty counts as unset everywhere.
public struct Environment: Sendable {
  private let lookup: @Sendable (String) -> String?
  private let passwordHome: @Sendable () -> String?

  /// This process's.
  public static let process = Environment(
    lookup: { name in getenv(name).map { String(cString: $0) } }, passwordHome: { homeOfUser() })

  /// - Parameters:
  ///   - lookup: a variable's value.
  ///   - passwordHome: the home directory in the user's entry of the password file.
  package init(lookup: @escaping @Sendable (String) -> String?, passwordHome: @escaping @Sendable () -> String?) {
    self.lookup = lookup
    self.passwordHome = passwordHome
  }

  public subscript(_ name: String) -> String? { lookup(name).flatMap { $0.isEmpty ? nil : $0 } }

  /// The user's home directory: `HOME`, else the password file's; nil when neither names an absolute path.
  public var home: String? {
    [self["HOME"], passwordHome()].compactMap { $0 }.first { $0.hasPrefix("/") }
  }

  /// Where Coppice keeps what it can compute again: `COPPICE_CACHE`; else `coppice` in `XDG_CACHE_HOME`, which the XDG Base
  /// Directory Specification wants absolute and ignored otherwise; else `~/.cache/coppice`. Nil without a home.
  public var cacheDirectory: String? {
    if let own = self["COPPICE_CACHE"] { return own }
    if let base = self["XDG_CACHE_HOME"], base.hasPrefix("/") { return base + "/coppice" }
    return home.map { ($0 == "/" ? "" : $0) + "/.cache/coppice" }
  }

  /// Where temporary files go: `TMPDIR` where that is a directory that takes files, else `/tmp`.
  public var temporaryDirectory: String {
    guard let named = self["TMPDIR"] else { return "/tmp" }
    var status = stat()
    let takesFiles =
      stat(named, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR && access(named, W_OK | X_OK) == 0
    return takesFiles ? named : "/tmp"
  }

  private static func homeOfUser() -> String? {
    var entry = passwd()
    var found: UnsafeMutablePointer<passwd>?
    var buffer = [CChar](repeating: 0, count: 1 << 14)
    guard getpwuid_r(getuid(), &entry, &buffer, buffer.count, &found) == 0, found != nil, let home = entry.pw_dir else {
      return nil
    }
    return String(cString: home)
  }
}
