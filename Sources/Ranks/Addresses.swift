import Messages

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Whether a name or address can only be this machine.
func isLoopback(_ host: String) -> Bool { host == "localhost" || host == "::1" || host.hasPrefix("127.") }

/// This machine's address for ranks that reach rank 0 at `host`: that of the interface by which packets go there.
///
/// - Parameter isOneMachine: all ranks are here.
func ownAddress(toward host: String, port: UInt16, isOneMachine: Bool) -> String {
  if isOneMachine || isLoopback(host) { return "127.0.0.1" }
  let found = sourceAddress(toward: host, port: port)
  if let found, !isLoopback(found) { return found }
  // On rank 0's own machine the name may stand for the loopback, where no other machine finds anything.
  return interfaceAddress() ?? found ?? "127.0.0.1"
}

/// The address that the system would send from: asked without sending anything.
private func sourceAddress(toward host: String, port: UInt16) -> String? {
  var hints = addrinfo()
  #if canImport(Glibc)
    hints.ai_socktype = Int32(SOCK_DGRAM.rawValue)
  #else
    hints.ai_socktype = SOCK_DGRAM
  #endif
  var list: UnsafeMutablePointer<addrinfo>?
  guard getaddrinfo(host, String(port), &hints, &list) == 0 else { return nil }
  defer { freeaddrinfo(list) }
  var next = list
  while let entry = next?.pointee {
    next = entry.ai_next
    let descriptor = socket(entry.ai_family, entry.ai_socktype, entry.ai_protocol)
    guard descriptor >= 0 else { continue }
    defer { close(descriptor) }
    guard connect(descriptor, entry.ai_addr, entry.ai_addrlen) == 0 else { continue }
    var own = sockaddr_storage()
    var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let text = withUnsafeMutablePointer(to: &own) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        getsockname(descriptor, address, &length) == 0 ? numeric(address, length) : nil
      }
    }
    if let text { return text }
  }
  return nil
}

/// The address of the first interface that other machines could reach.
private func interfaceAddress() -> String? {
  var list: UnsafeMutablePointer<ifaddrs>?
  guard getifaddrs(&list) == 0 else { return nil }
  defer { freeifaddrs(list) }
  var next = list
  while let entry = next?.pointee {
    next = entry.ifa_next
    guard let address = entry.ifa_addr, Int32(address.pointee.sa_family) == AF_INET,
      entry.ifa_flags & UInt32(IFF_UP) != 0, entry.ifa_flags & UInt32(IFF_LOOPBACK) == 0
    else { continue }
    if let text = numeric(address, socklen_t(MemoryLayout<sockaddr_in>.size)) { return text }
  }
  return nil
}

private func numeric(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String? {
  var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
  guard getnameinfo(address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else { return nil }
  return text.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

/// The name of this machine, as its administrator chose it.
func systemHostName() -> String {
  var name = [CChar](repeating: 0, count: 256)
  guard gethostname(&name, name.count - 1) == 0 else { return "unknown" }
  return name.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

/// A socket that listens on the loopback, at a port that the system chooses. Not inherited by other programs.
///
/// - Throws: `RankError` when there is none to be had.
public func loopbackListener() throws -> (descriptor: Int32, port: UInt16) {
  #if canImport(Glibc)
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
  #else
    let kind = SOCK_STREAM
  #endif
  let descriptor = socket(AF_INET, kind, 0)
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let works = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      descriptor >= 0 && bind(descriptor, $0, length) == 0 && listen(descriptor, 1024) == 0
        && getsockname(descriptor, $0, &length) == 0
    }
  }
  guard works else {
    let reason = String(cString: strerror(errno))
    if descriptor >= 0 { close(descriptor) }
    throw RankError(.rendezvous, "no socket can be opened on 127.0.0.1 by which processes find each other: \(reason)")
  }
  return (descriptor, UInt16(bigEndian: address.sin_port))
}
