#pragma once

#include <arrow/api.h>
#include <arrow/io/interfaces.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace coppice {

/// What a file may use: `pool` refuses more than `limit` bytes at a time.
struct Memory {
  // Not Arrow's default pool, which keeps what is given back to it. The first counts what this file uses, the second
  // ends it.
  std::unique_ptr<arrow::ProxyMemoryPool> counted;
  std::unique_ptr<arrow::CappedMemoryPool> pool;
  int64_t limit = 0;

  /// For a file of this many bytes.
  explicit Memory(int64_t size);
};

/// The rows of one file.
class Table {
public:
  virtual ~Table() = default;
  /// Of the top-level columns.
  std::vector<std::string> names;
  /// Chooses columns by their indices in `names`, and goes to the first row.
  virtual arrow::Status select(const std::vector<int> &columns) = 0;
  /// The next rows, their columns in the order of the selection; null at the end.
  virtual arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() = 0;
};

/// Rows in memory at a time.
constexpr int64_t batch_rows = 256;

using Source = std::shared_ptr<arrow::io::RandomAccessFile>;
arrow::Result<std::unique_ptr<Table>> open_parquet(Source source, arrow::MemoryPool *pool);
arrow::Result<std::unique_ptr<Table>> open_ipc(Source source, arrow::MemoryPool *pool);

/// A compressed file as a stream of what it holds.
arrow::Result<std::shared_ptr<arrow::io::InputStream>> unpacking(std::shared_ptr<arrow::io::InputStream> raw,
                                                                 uint32_t codec, arrow::MemoryPool *pool);
/// All of what it holds.
arrow::Result<Source> unpacked(std::shared_ptr<arrow::io::InputStream> raw, uint32_t codec, arrow::MemoryPool *pool);

} // namespace coppice
