#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// Seconds on a clock that only goes forward, and goes on while the process is stopped.
func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func pause(seconds: Double) { usleep(UInt32(max(0, min(seconds, 600)) * 1e6)) }
