import Files
import Formatting
import JSON
import Messages

extension HubClient {
  /// What a refusal means, and what to do about it.
  ///
  /// Source: `hf_raise_for_status` of huggingface_hub, and the codes that the hub sends (`X-Error-Code`).
  func refused(
    _ answer: Answer, _ repository: Repository, _ revision: String, path: String? = nil, known: [Repository]
  ) -> HubError {
    let head = answer.head
    let page = "\(settings.endpoint)/\(repository.path)"
    switch (head["x-error-code"], head.status) {
    case ("GatedRepo", _):
      return HubError(
        .access,
        token == nil
          ? """
          \(repository) is gated: accept its conditions on \(page), then log in (coppice login, or HF_TOKEN) and run the \
          same command again
          """
          : """
          \(repository) is gated, and this token's user may not read it yet: accept its conditions on \(page), wait \
          until access is granted (a fine-grained token must also be allowed to read gated repositories), then run the \
          same command again
          """)
    case ("RevisionNotFound", _):
      return HubError(
        .missing, "\(repository) has no revision \(revision.debugDescription); \(page)/tree/main shows what there is")
    case ("EntryNotFound", _):
      return HubError(.missing, "\(repository) at \(revision) has no file \(path ?? "of that name")")
    case ("RepoNotFound", _), (_, 404): return notFound(repository, page, known)
    case (nil, 401) where token == nil: return notFound(repository, page, known)
    case (_, 401):
      return HubError(
        .access,
        """
        \(settings.endpoint) does not accept the token\(said(answer)): it may be wrong, expired or of another hub. Make \
        one on \(settings.endpoint)/settings/tokens and log in (coppice login, or HF_TOKEN)
        """)
    case (_, 403):
      let reason = said(answer)
      guard reason.isEmpty else { return HubError(.access, "\(repository) may not be read\(reason): look at \(page)") }
      return HubError(
        .access,
        """
        \(repository) may not be read \(token == nil ? "without logging in" : "with this token"): look at \(page), then \
        log in (coppice login, or HF_TOKEN)
        """)
    case (_, 429):
      return HubError(
        .unreachable,
        """
        \(settings.endpoint) limits requests\(token == nil ? " (those with a token get more: coppice login)" : ""): run \
        the same command again later, what was fetched is kept
        """)
    default: return failed(answer)
    }
  }

  /// A server that does not do its work.
  func failed(_ answer: Answer) -> HubError {
    HubError(
      .unreachable,
      """
      \(settings.endpoint) answers \(answer.head.status)\(said(answer)): run the same command again later, what was \
      fetched is kept
      """)
  }

  private func notFound(_ repository: Repository, _ page: String, _ known: [Repository]) -> HubError {
    let names = known.filter { $0.kind == repository.kind }.map(\.name)
    let near = nearest(repository.name, in: names).map { " (the cache has \($0))" } ?? ""
    let access =
      token == nil
      ? "if it is private, log in (coppice login, or HF_TOKEN)" : "or it is private and this token may not see it"
    return HubError(
      .missing,
      """
      there is no \(repository.kind.rawValue) \(repository) on \(settings.endpoint)\(near): check the name on \(page); \
      \(access)
      """)
  }

  /// What the server says of it, where it says something printable.
  private func said(_ answer: Answer) -> String {
    let body = try? JSON(parsing: answer.refusal)
    guard let text = answer.head["x-error-message"] ?? body?["error"]?.string, !text.isEmpty else { return "" }
    let plain = String.UnicodeScalarView(
      text.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }.prefix(200))
    let safe = token?.removed(from: String(plain)) ?? String(plain)
    return " (\(safe))"
  }
}
