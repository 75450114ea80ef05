#include <arrow/ipc/api.h>

#include <algorithm>
#include <string_view>

#include "tables.hpp"

namespace coppice {
namespace {

using arrow::Status;

constexpr std::string_view file_magic = "ARROW1";

// Arrow's own format, as the cache of `datasets` has it: its stream format and its file format.
class Ipc : public Table {
public:
  Source source;
  arrow::MemoryPool *pool = nullptr;
  bool is_file = false;

  Status open(const std::vector<int> &fields) {
    stream.reset();
    file.reset();
    at = 0;
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool;
    options.use_threads = false;
    options.included_fields = fields;
    if (is_file) return arrow::ipc::RecordBatchFileReader::Open(source, options).Value(&file);
    ARROW_RETURN_NOT_OK(source->Seek(0));
    return arrow::ipc::RecordBatchStreamReader::Open(source, options).Value(&stream);
  }

  std::shared_ptr<arrow::Schema> schema() const { return is_file ? file->schema() : stream->schema(); }

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
      ARROW_ASSIGN_OR_RAISE(rows, read());
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
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> read() {
    std::shared_ptr<arrow::RecordBatch> batch;
    if (is_file) {
      if (at == file->num_record_batches()) return nullptr;
      return file->ReadRecordBatch(at++);
    }
    ARROW_RETURN_NOT_OK(stream->ReadNext(&batch));
    return batch;
  }

  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> stream;
  std::shared_ptr<arrow::ipc::RecordBatchFileReader> file;
  // The batch of a file that is read next.
  int at = 0;
  // Where each column of the selection stands in what the reader gives.
  std::vector<int> places;
  // The file's batches may be long ones: they are given in parts.
  std::shared_ptr<arrow::RecordBatch> rows;
  int64_t from = 0;
};

} // namespace

arrow::Result<std::unique_ptr<Table>> open_ipc(Source source, arrow::MemoryPool *pool) {
  auto table = std::make_unique<Ipc>();
  char start[file_magic.size()];
  ARROW_ASSIGN_OR_RAISE(int64_t count, source->ReadAt(0, static_cast<int64_t>(sizeof start), start));
  if (count == 0) return Status::Invalid("it is empty");
  table->is_file = std::string_view(start, static_cast<size_t>(count)) == file_magic;
  table->source = std::move(source);
  table->pool = pool;
  ARROW_RETURN_NOT_OK(table->open({}));
  for (const auto &field : table->schema()->fields()) table->names.push_back(field->name());
  return table;
}

} // namespace coppice
