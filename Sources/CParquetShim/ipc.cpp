#include <arrow/ipc/api.h>

#include <algorithm>
#include <string_view>

#include "tables.hpp"

namespace coppice {
namespace {

using arrow::Status;

// At both ends of a file; padded to eight bytes at the start.
constexpr std::string_view file_magic = "ARROW1";
constexpr int64_t file_start = 8;

// Arrow's own format, as the cache of `datasets` has it. The file format is the stream format between two marks, and is read
// as that: Arrow's reader of files has threads of its pool at work, which let go of what they read some time after everything
// here, the memory it lies in included, is gone.
class Ipc : public Table {
public:
  Source source;
  arrow::MemoryPool *pool = nullptr;
  int64_t start = 0;

  Status open(const std::vector<int> &fields) {
    stream.reset();
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool;
    options.use_threads = false;
    options.included_fields = fields;
    ARROW_RETURN_NOT_OK(source->Seek(start));
    return arrow::ipc::RecordBatchStreamReader::Open(source, options).Value(&stream);
  }

  std::shared_ptr<arrow::Schema> schema() const { return stream->schema(); }

  Status select(const std::vector<int> &columns) override {
    // The readers give fields in the order of the file.
    std::vector<int> fields(columns);
    std::sort(fields.begin(), fields.end());
    fields.erase(std::unique(fields.begin(), fields.end()), fields.end());
    places.clear();
    for (int column : columns)
      places.push_back(static_cast<int>(std::lower_bound(fields.begin(), fields.end(), column) - fields.begin()));
    rows.reset();
    return open(fields);
  }

  arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() override {
    if (places.empty()) return Status::Invalid("no columns were selected");
    while (!rows || from >= rows->num_rows()) {
      rows.reset();
      ARROW_RETURN_NOT_OK(stream->ReadNext(&rows));
      from = 0;
      if (!rows) return nullptr;
      ARROW_RETURN_NOT_OK(rows->Validate());
    }
    int64_t count = std::min(batch_rows, rows->num_rows() - from);
    std::shared_ptr<arrow::RecordBatch> part = rows->Slice(from, count);
    from += count;
    return part->SelectColumns(places);
  }

private:
  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> stream;
  // Where each column of the selection stands in what the reader gives.
  std::vector<int> places;
  // The file's batches may be long ones: they are given in parts.
  std::shared_ptr<arrow::RecordBatch> rows;
  int64_t from = 0;
};

arrow::Result<bool> has_magic(arrow::io::RandomAccessFile &source, int64_t position) {
  char bytes[file_magic.size()];
  ARROW_ASSIGN_OR_RAISE(int64_t count, source.ReadAt(position, static_cast<int64_t>(sizeof bytes), bytes));
  return std::string_view(bytes, static_cast<size_t>(count)) == file_magic;
}

} // namespace

arrow::Result<std::unique_ptr<Table>> open_ipc(Source source, arrow::MemoryPool *pool) {
  auto table = std::make_unique<Ipc>();
  ARROW_ASSIGN_OR_RAISE(int64_t size, source->GetSize());
  if (size == 0) return Status::Invalid("it is empty");
  ARROW_ASSIGN_OR_RAISE(bool is_file, has_magic(*source, 0));
  if (is_file) {
    int64_t length = static_cast<int64_t>(file_magic.size());
    ARROW_ASSIGN_OR_RAISE(bool is_whole, has_magic(*source, std::max(size - length, length)));
    if (!is_whole) return Status::Invalid("it is cut short: its end is missing");
    table->start = file_start;
  }
  table->source = std::move(source);
  table->pool = pool;
  ARROW_RETURN_NOT_OK(table->open({}));
  for (const auto &field : table->schema()->fields()) table->names.push_back(field->name());
  return table;
}

} // namespace coppice
