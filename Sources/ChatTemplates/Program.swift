#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A template that was parsed and whose names are known. Never changed once it is made.
final class Program: @unchecked Sendable {
  let body: [Statement]
  let frame: FrameEntry
  let slots: Int
  /// What messages call it.
  let name: String

  static let maximumSource = 1 << 20

  /// - Throws: `TemplateError`, syntax or budget.
  init(_ source: [UInt8], name: String) throws {
    self.name = name
    do {
      guard source.count <= Self.maximumSource else {
        throw TemplateError(.budget, "a template of \(source.count) bytes; it may have \(Self.maximumSource)")
      }
      guard String(validating: source, as: UTF8.self) != nil else {
        throw TemplateError(.syntax, "the template is not UTF-8 text")
      }
      (body, frame, slots) = try LargeStack.run {
        let body = try Parser.parse(source)
        let (frame, slots) = try Resolver.resolve(body)
        return (body, frame, slots)
      }
    } catch var error as TemplateError {
      error.source = name
      throw error
    }
  }

  /// - Throws: `TemplateError`.
  func render(_ variables: [Text: Value], inputBytes: Int, clock: Clock) throws -> [UInt8] {
    let globals = try Globals.all().merging(variables) { $1 }
    do {
      return try LargeStack.run {
        let budget = Budget(inputBytes: inputBytes)
        return try Interpreter(globals: globals, budget: budget, clock: clock).render(self)
      }
    } catch var error as TemplateError {
      error.source = name
      throw error
    }
  }
}

/// Runs on a thread whose stack is large enough for everything that the limits of depth let in: callers may have half a
/// megabyte.
enum LargeStack {
  private static let size = 32 << 20

  private final class Job {
    let body: () -> Void
    init(_ body: @escaping () -> Void) { self.body = body }
  }

  private final class Box<Result>: @unchecked Sendable {
    var result: Swift.Result<Result, any Error>?
  }

  static func run<Result>(_ body: () throws -> Result) throws -> Result {
    let box = Box<Result>()
    try withoutActuallyEscaping({ box.result = Swift.Result { try body() } }) { work in
      let job = Unmanaged.passRetained(Job(work))
      var attributes = pthread_attr_t()
      pthread_attr_init(&attributes)
      defer { pthread_attr_destroy(&attributes) }
      pthread_attr_setstacksize(&attributes, size)
      #if canImport(Darwin)
        var thread: pthread_t?
      #else
        var thread = pthread_t()
      #endif
      let code = pthread_create(&thread, &attributes, start, job.toOpaque())
      guard code == 0 else {
        job.release()
        throw TemplateError(
          .budget, "no thread could be started to render the template: \(String(cString: strerror(code)))")
      }
      #if canImport(Darwin)
        if let thread { pthread_join(thread, nil) }
      #else
        pthread_join(thread, nil)
      #endif
    }
    guard let result = box.result else { throw TemplateError(.budget, "the thread that renders the template ended") }
    return try result.get()
  }

  #if canImport(Darwin)
    private static let start: @convention(c) (UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? = { pointer in
      Unmanaged<Job>.fromOpaque(pointer).takeRetainedValue().body()
      return nil
    }
  #else
    private static let start: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { pointer in
      guard let pointer else { return nil }
      Unmanaged<Job>.fromOpaque(pointer).takeRetainedValue().body()
      return nil
    }
  #endif
}
