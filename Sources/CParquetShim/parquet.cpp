#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <numeric>

#include "tables.hpp"

namespace coppice {
namespace {

using arrow::Status;

void leaves(const parquet::arrow::SchemaField &field, std::vector<int> &out) {
  if (field.is_leaf()) out.push_back(field.column_index);
  for (const auto &child : field.children) leaves(child, out);
}

class Parquet : public Table {
public:
  std::unique_ptr<parquet::arrow::FileReader> reader;

  Status select(const std::vector<int> &columns) override {
    batches.reset();
    std::vector<int> chosen;
    for (int column : columns) leaves(reader->manifest().schema_fields[static_cast<size_t>(column)], chosen);
    std::vector<int> groups(static_cast<size_t>(reader->num_row_groups()));
    std::iota(groups.begin(), groups.end(), 0);
    return reader->GetRecordBatchReader(groups, chosen).Value(&batches);
  }

  arrow::Result<std::shared_ptr<arrow::RecordBatch>> next() override {
    if (!batches) return Status::Invalid("no columns were selected");
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(batches->ReadNext(&batch));
    return batch;
  }

private:
  // After the reader: it goes first.
  std::unique_ptr<arrow::RecordBatchReader> batches;
};

} // namespace

arrow::Result<std::unique_ptr<Table>> open_parquet(Source source, arrow::MemoryPool *pool) {
  parquet::ReaderProperties properties(pool);
  properties.enable_buffered_stream();
  parquet::ArrowReaderProperties reading(/*use_threads=*/false);
  reading.set_pre_buffer(false);
  reading.set_batch_size(batch_rows);
  parquet::arrow::FileReaderBuilder builder;
  ARROW_RETURN_NOT_OK(builder.Open(std::move(source), properties));
  builder.memory_pool(pool);
  builder.properties(reading);
  auto table = std::make_unique<Parquet>();
  ARROW_ASSIGN_OR_RAISE(table->reader, builder.Build());
  for (const auto &field : table->reader->manifest().schema_fields) table->names.push_back(field.field->name());
  return table;
}

} // namespace coppice
