#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Tries until somebody listens at an address, so that c10d's own attempts, which log what they think, succeed at once.
///
/// - Returns: nil, or why nobody was reached before `end` on the clock of `now()`.
func obstacle(toReach host: String, port: UInt16, until end: Double) -> String? {
  while true {
    let reason = attempt(host, port, seconds: max(0.1, min(5, end - now())))
    if reason == nil || now() >= end { return reason }
    pause(seconds: 0.05)
  }
}

/// One attempt; nil where it succeeds.
private func attempt(_ host: String, _ port: UInt16, seconds: Double) -> String? {
  var hints = addrinfo()
  #if canImport(Glibc)
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
  #else
    hints.ai_socktype = SOCK_STREAM
  #endif
  var list: UnsafeMutablePointer<addrinfo>?
  let answer = getaddrinfo(host, String(port), &hints, &list)
  guard answer == 0 else { return "its name is not known here: \(String(cString: gai_strerror(answer)))" }
  defer { freeaddrinfo(list) }
  var reason = "it has no address"
  var next = list
  while let entry = next?.pointee {
    next = entry.ai_next
    let descriptor = socket(entry.ai_family, entry.ai_socktype, entry.ai_protocol)
    guard descriptor >= 0 else { continue }
    defer { close(descriptor) }
    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
    if connect(descriptor, entry.ai_addr, entry.ai_addrlen) == 0 { return nil }
    guard errno == EINPROGRESS else {
      reason = String(cString: strerror(errno))
      continue
    }
    var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
    guard poll(&ready, 1, Int32(seconds * 1000)) > 0 else {
      reason = "no answer"
      continue
    }
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
    if code == 0 { return nil }
    reason = String(cString: strerror(code))
  }
  return reason
}
