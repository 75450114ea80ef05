import Foundation
import Formatting
import JSON

/// A run's curves as one page, `report.html`: inline SVG, nothing is fetched, no script.
struct DistillReport {
  /// Points of one curve, by step.
  struct Curve {
    let name: String
    /// The class of its colour.
    let style: String
    let points: [(step: Int, value: Double)]
  }

  private let title: String
  private let settings: [(name: String, value: String)]
  private let lines: [JSON]
  private let steps: Int

  /// - Parameters:
  ///   - lines: those of `metrics.jsonl`.
  ///   - steps: of the run in all.
  init(title: String, settings: [(name: String, value: String)], lines: [JSON], steps: Int) {
    (self.title, self.settings, self.lines, self.steps) = (title, settings, lines, steps)
  }

  private func curve(_ key: String, _ name: String, _ style: String) -> Curve {
    Curve(
      name: name, style: style,
      points: lines.compactMap { line in
        guard let step = line["step"]?.int, let value = line[key]?.double, value.isFinite else { return nil }
        return (step, value)
      })
  }

  var html: String {
    let charts = [
      chart(
        "KL from the teacher", "nats per token",
        [curve("kl", "training", "a"), curve("validation_kl", "held back", "b")], logarithmic: true),
      chart(
        "Loss of the text", "nats per token",
        [curve("loss", "training", "a"), curve("validation_loss", "held back", "b")]),
      chart("Learning rate", "", [curve("lr", "rate", "a")]),
      chart("Norm of the gradient, before clipping", "", [curve("gradient_norm", "norm", "a")], logarithmic: true),
      chart("Tokens per second", "", [curve("tokens_per_second", "tokens/s", "a")]),
    ]
    let rows = settings.map { "<tr><th>\(Self.escaped($0.name))</th><td>\(Self.escaped($0.value))</td></tr>" }
    return """
      <!doctype html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>\(Self.escaped(title))</title>
      <style>\(Self.style)</style>
      </head>
      <body>
      <h1>\(Self.escaped(title))</h1>
      <p>\(Self.escaped(summary))</p>
      <div class="charts">
      \(charts.joined(separator: "\n"))
      </div>
      <h2>Settings</h2>
      <table>
      \(rows.joined(separator: "\n"))
      </table>
      </body>
      </html>

      """
  }

  /// Where the run is, in a line.
  private var summary: String {
    let done = lines.compactMap { $0["step"]?.int }.max() ?? 0
    var parts = ["Step \(done) of \(steps)"]
    for (key, name) in [
      ("validation_kl", "KL from the teacher on held-back text"), ("validation_loss", "loss on held-back text"),
    ] {
      let values = lines.compactMap { $0[key]?.double }
      if let first = values.first, let last = values.last {
        parts.append("\(name): \(Format.decimal(first, places: 4)) → \(Format.decimal(last, places: 4))")
      }
    }
    return parts.joined(separator: "; ") + "."
  }

  // MARK: Charts

  private static let width = 460.0, height = 240.0, left = 58.0, right = 14.0, top = 14.0, bottom = 34.0

  private func chart(_ title: String, _ unit: String, _ curves: [Curve], logarithmic: Bool = false) -> String {
    let shown = curves.filter { !$0.points.isEmpty }
    let values = shown.flatMap { $0.points.map(\.value) }
    let isLogarithmic = logarithmic && (values.min() ?? 0) > 0
    guard !shown.isEmpty, let scale = Scale(values, isLogarithmic: isLogarithmic) else {
      return
        "<figure><figcaption>\(Self.escaped(title))</figcaption><p class=\"none\">nothing measured yet</p></figure>"
    }
    let last = Double(max(steps, 1))
    func x(_ step: Int) -> Double { Self.left + (Self.width - Self.left - Self.right) * Double(step) / last }
    func y(_ value: Double) -> Double { Self.top + (Self.height - Self.top - Self.bottom) * (1 - scale.place(value)) }
    var parts: [String] = []
    for tick in scale.ticks {
      let at = Self.short(y(tick))
      parts.append(
        "<line class=\"grid\" x1=\"\(Self.short(Self.left))\" x2=\"\(Self.short(Self.width - Self.right))\" y1=\"\(at)\" y2=\"\(at)\"/>"
      )
      parts.append(
        "<text class=\"y\" x=\"\(Self.short(Self.left - 6))\" y=\"\(Self.short(y(tick) + 4))\">\(Self.number(tick))</text>"
      )
    }
    for step in [0, steps / 2, steps] {
      parts.append(
        "<text class=\"x\" x=\"\(Self.short(x(step)))\" y=\"\(Self.short(Self.height - 12))\">\(Format.grouped(step))</text>"
      )
    }
    for curve in shown {
      let points = curve.points.map { "\(Self.short(x($0.step))),\(Self.short(y($0.value)))" }.joined(separator: " ")
      parts.append("<polyline class=\"\(curve.style)\" points=\"\(points)\"/>")
      if curve.points.count <= 40 {
        parts += curve.points.map {
          "<circle class=\"\(curve.style)\" cx=\"\(Self.short(x($0.step)))\" cy=\"\(Self.short(y($0.value)))\" r=\"2.5\"/>"
        }
      }
    }
    let legend =
      shown.count > 1
      ? shown.map { "<span class=\"\($0.style)\">\(Self.escaped($0.name))</span>" }.joined(separator: " ") : ""
    let note = [unit, isLogarithmic ? "logarithmic" : ""].filter { !$0.isEmpty }.joined(separator: ", ")
    return """
      <figure><figcaption>\(Self.escaped(title))\(note.isEmpty ? "" : " <small>\(note)</small>") \(legend)</figcaption>
      <svg viewBox="0 0 \(Self.short(Self.width)) \(Self.short(Self.height))" role="img" aria-label="\(Self.escaped(title))">\(parts.joined())</svg></figure>
      """
  }

  /// Where values lie between the bottom and the top of a chart.
  private struct Scale {
    let ticks: [Double]
    private let low: Double, high: Double
    private let isLogarithmic: Bool

    init?(_ values: [Double], isLogarithmic: Bool) {
      guard let least = values.min(), let most = values.max() else { return nil }
      self.isLogarithmic = isLogarithmic
      if isLogarithmic {
        let (low, high) = (log10(least) - 0.05, log10(most) + 0.05)
        (self.low, self.high) = (low, high)
        let powers = Int(low.rounded(.down))...Int(high.rounded(.up))
        let all = powers.flatMap { power in [1.0, 2, 5].map { $0 * pow(10, Double(power)) } }
        let inside = all.filter { log10($0) >= low && log10($0) <= high }
        ticks = inside.count > 7 ? inside.filter { log10($0).rounded() == log10($0) } : inside
      } else {
        let margin = max((most - least) * 0.06, abs(most) * 1e-3, 1e-12)
        (low, high) = (max(least - margin, least >= 0 ? 0 : -.infinity), most + margin)
        let rough = (high - low) / 4
        let unit = pow(10, log10(rough).rounded(.down))
        let step = [1.0, 2, 5, 10].map { $0 * unit }.first { $0 >= rough } ?? unit
        ticks = stride(from: (low / step).rounded(.up) * step, through: high, by: step).map { $0 }
      }
    }

    func place(_ value: Double) -> Double {
      let at = isLogarithmic ? log10(value) : value
      return (at - low) / max(high - low, 1e-300)
    }
  }

  private static func short(_ value: Double) -> String { Format.decimal(value, places: 1) }

  private static func number(_ value: Double) -> String {
    let size = abs(value)
    if size >= 10_000 { return Format.count(Int(value)) }
    if size > 0, size < 0.001 { return "\(Float(value))" }
    let text = Format.decimal(value, places: size >= 100 ? 0 : size >= 1 ? 2 : 4)
    guard text.contains(".") else { return text }
    return String(text.reversed().drop { $0 == "0" }.drop { $0 == "." }.reversed())
  }

  private static func escaped(_ text: String) -> String {
    text.reduce(into: "") { result, character in
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.append(character)
      }
    }
  }

  private static let style = """
    :root{color-scheme:light dark}
    body{font:15px/1.5 system-ui,sans-serif;color:light-dark(#1c1f23,#e6e8ea);background:light-dark(#fff,#16191d);max-width:1000px;margin:2rem auto;padding:0 1rem}
    h1{font-size:1.4rem}h2{font-size:1.1rem}small{color:light-dark(#6b7280,#9aa1aa)}
    .charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:1.2rem}
    figure{margin:0}figcaption{font-weight:600}figcaption span{font-weight:400;margin-left:.6rem}
    svg{width:100%;height:auto}svg text{font-size:11px;fill:light-dark(#6b7280,#9aa1aa)}.y{text-anchor:end}.x{text-anchor:middle}
    .grid{stroke:light-dark(#e2e5e9,#343a41)}polyline{fill:none;stroke-width:1.8}
    polyline.a{stroke:light-dark(#2563a8,#6fb1f0)}polyline.b{stroke:light-dark(#c2571a,#f0a06a)}circle.a{fill:light-dark(#2563a8,#6fb1f0)}circle.b{fill:light-dark(#c2571a,#f0a06a)}
    span.a{color:light-dark(#2563a8,#6fb1f0)}span.b{color:light-dark(#c2571a,#f0a06a)}.none{color:light-dark(#6b7280,#9aa1aa)}
    table{border-collapse:collapse}th{text-align:left;font-weight:400;color:light-dark(#6b7280,#9aa1aa);padding-right:1rem}td,th{padding:.1rem .8rem .1rem 0}
    """
}
