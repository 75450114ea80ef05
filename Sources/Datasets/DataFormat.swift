import CParquet
import Files

/// What a file is compressed with as a whole.
enum Compression: Sendable {
  case none, gzip, zstd, bz2, lz4, brotli

  /// By the last extension of a name.
  init?(extension name: String) {
    switch name {
    case "gz", "gzip": self = .gzip
    case "zst", "zstd": self = .zstd
    case "bz2": self = .bz2
    case "lz4": self = .lz4
    case "br": self = .brotli
    default: return nil
    }
  }

  var name: String { "\(self)" }

  var codec: UInt32 {
    switch self {
    case .none: CP_PLAIN.rawValue
    case .gzip: CP_GZIP.rawValue
    case .zstd: CP_ZSTD.rawValue
    case .bz2: CP_BZ2.rawValue
    case .lz4: CP_LZ4.rawValue
    case .brotli: CP_BROTLI.rawValue
    }
  }
}

/// How the rows stand in a file of data, by its name.
struct DataFormat: Sendable, Equatable {
  /// `datasets` calls these its modules.
  enum Kind: Sendable, Hashable { case parquet, arrow, json, csv, text }

  let kind: Kind
  /// Between the columns of a CSV file.
  var separator = UInt8(ascii: ",")
  let compression: Compression
  /// The last extension of a file that is packed in another manner, which is not read.
  let packedAs: String?

  /// The kinds by their extensions, as `datasets` has them.
  static let kinds: [String: Kind] = [
    "parquet": .parquet, "geoparquet": .parquet, "gpq": .parquet, "arrow": .arrow, "json": .json, "jsonl": .json,
    "ndjson": .json, "csv": .csv, "tsv": .csv, "txt": .text,
  ]

  private static let unread: Set<String> = [
    "xz", "lzma", "zip", "7z", "tar", "tgz", "rar", "snappy", "sz", "z", "lz", "eval",
  ]

  /// For people who choose a file.
  static let wanted = ".jsonl, .json, .parquet, .csv, .tsv, .arrow or .txt, also compressed (.gz, .zst, .bz2, .lz4)"

  static let plainText = DataFormat(kind: .text)

  private init(kind: Kind) { (self.kind, compression, packedAs) = (kind, .none, nil) }

  /// Nil where no extension of the name says that it is data.
  init?(name: String) {
    let extensions = Self.extensions(name)
    guard let at = extensions.lastIndex(where: { Self.kinds[$0] != nil }), let kind = Self.kinds[extensions[at]] else {
      return nil
    }
    self.kind = kind
    if extensions[at] == "tsv" { separator = UInt8(ascii: "\t") }
    let last = at + 1 < extensions.count ? extensions.last : nil
    compression = last.flatMap(Compression.init(extension:)) ?? .none
    packedAs = last.flatMap { Self.unread.contains($0) ? $0 : nil }
  }

  /// The parts of a file's name after its first dot, in small letters.
  static func extensions(_ path: String) -> [String] {
    let parts = lastName(path).split(separator: ".", omittingEmptySubsequences: false)
    return parts.dropFirst().map { $0.lowercased() }
  }
}

/// What a data set's card says of how its files are to be read.
struct ReadOptions: Sendable, Equatable {
  /// Between columns, where it is not that of the format.
  var separator: UInt8?
  /// The member of a JSON file's object that holds the rows.
  var field: String?
}
