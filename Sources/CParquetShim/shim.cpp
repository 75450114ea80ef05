#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "CParquet.h"
#include "cells.hpp"

struct cp_file {
  std::unique_ptr<parquet::arrow::FileReader> reader;
  // After the reader: it goes first.
  std::unique_ptr<arrow::RecordBatchReader> batches;
  std::vector<std::string> names;
  std::vector<coppice::Column> columns;
};

namespace {

using arrow::Status;

// Rows in memory at a time.
constexpr int64_t batch_rows = 256;

cp_error text_of(const std::string &text) {
  char *copy = strdup(text.empty() ? "unknown error" : text.c_str());
  // NULL would mean that all went well.
  if (!copy) std::abort();
  return copy;
}

// Corrupt files make Arrow return errors and parquet throw; both end here, and nothing leaves as an exception.
template <typename Body> cp_error guarded(Body &&body) noexcept {
  try {
    Status status = body();
    return status.ok() ? nullptr : text_of(status.message());
  } catch (const std::exception &error) {
    return text_of(error.what());
  } catch (...) {
    return text_of("unknown error");
  }
}

void leaves(const parquet::arrow::SchemaField &field, std::vector<int> &out) {
  if (field.is_leaf()) out.push_back(field.column_index);
  for (const auto &child : field.children) leaves(child, out);
}

cp_error open(const char *path, cp_file **out) {
  *out = nullptr;
  return guarded([&]() -> Status {
    // Not Arrow's default pool, which keeps what is given back to it.
    arrow::MemoryPool *pool = arrow::system_memory_pool();
    parquet::ReaderProperties properties(pool);
    properties.enable_buffered_stream();
    parquet::ArrowReaderProperties reading(/*use_threads=*/false);
    reading.set_pre_buffer(false);
    reading.set_batch_size(batch_rows);
    ARROW_ASSIGN_OR_RAISE(auto source, arrow::io::ReadableFile::Open(path, pool));
    parquet::arrow::FileReaderBuilder builder;
    ARROW_RETURN_NOT_OK(builder.Open(source, properties));
    builder.memory_pool(pool);
    builder.properties(reading);
    auto file = std::make_unique<cp_file>();
    ARROW_ASSIGN_OR_RAISE(file->reader, builder.Build());
    for (const auto &field : file->reader->manifest().schema_fields) file->names.push_back(field.field->name());
    *out = file.release();
    return Status::OK();
  });
}

void close(cp_file *file) {
  (void)guarded([&]() -> Status {
    delete file;
    return Status::OK();
  });
}

cp_error column_count(cp_file *file, int64_t *count) {
  *count = static_cast<int64_t>(file->names.size());
  return nullptr;
}

cp_error column_name(cp_file *file, int64_t column, const char **name) {
  *name = nullptr;
  if (column < 0 || column >= static_cast<int64_t>(file->names.size())) return text_of("no such column");
  *name = file->names[static_cast<size_t>(column)].c_str();
  return nullptr;
}

cp_error select(cp_file *file, const int64_t *columns, int64_t count) {
  return guarded([&]() -> Status {
    file->batches.reset();
    const auto &fields = file->reader->manifest().schema_fields;
    std::vector<int> chosen;
    for (int64_t i = 0; i < count; ++i) {
      if (columns[i] < 0 || columns[i] >= static_cast<int64_t>(fields.size())) return Status::Invalid("no such column");
      leaves(fields[static_cast<size_t>(columns[i])], chosen);
    }
    std::vector<int> groups(static_cast<size_t>(file->reader->num_row_groups()));
    std::iota(groups.begin(), groups.end(), 0);
    ARROW_ASSIGN_OR_RAISE(file->batches, file->reader->GetRecordBatchReader(groups, chosen));
    file->columns.assign(static_cast<size_t>(count), {});
    return Status::OK();
  });
}

cp_error next(cp_file *file, int64_t *rows) {
  *rows = 0;
  return guarded([&]() -> Status {
    if (!file->batches) return Status::Invalid("no columns were selected");
    for (auto &column : file->columns) column.clear();
    std::shared_ptr<arrow::RecordBatch> batch;
    // A batch may be empty; only a missing one is the end.
    do {
      ARROW_RETURN_NOT_OK(file->batches->ReadNext(&batch));
      if (!batch) return Status::OK();
    } while (batch->num_rows() == 0);
    if (batch->num_columns() != static_cast<int>(file->columns.size()))
      return Status::Invalid("the file gives ", batch->num_columns(), " columns where ", file->columns.size(),
                             " were selected");
    // Offsets and dictionary indices of a corrupt file may point anywhere.
    ARROW_RETURN_NOT_OK(batch->ValidateFull());
    for (int i = 0; i < batch->num_columns(); ++i)
      ARROW_RETURN_NOT_OK(coppice::append(*batch->column(i), file->columns[static_cast<size_t>(i)]));
    *rows = batch->num_rows();
    return Status::OK();
  });
}

cp_error column(cp_file *file, int64_t selected, cp_column *out) {
  if (selected < 0 || selected >= static_cast<int64_t>(file->columns.size())) return text_of("no such column");
  const auto &column = file->columns[static_cast<size_t>(selected)];
  out->kind = column.kind;
  out->rows = static_cast<int64_t>(column.valid.size());
  out->valid = column.valid.data();
  out->bytes = reinterpret_cast<const uint8_t *>(column.bytes.data());
  out->offsets = column.offsets.data();
  out->integers = column.integers.data();
  return nullptr;
}

constexpr cp_api api = {open, close, column_count, column_name, select, next, column};

} // namespace

extern "C" __attribute__((visibility("default"))) const cp_api *coppice_parquet_entry(uint32_t abi) {
  return abi == CP_ABI ? &api : nullptr;
}
