#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "CParquet.h"
#include "cells.hpp"

struct cp_file {
  // Before everything that holds memory of theirs: they go last. The first counts what this file uses, the second ends it.
  std::unique_ptr<arrow::ProxyMemoryPool> counted;
  std::unique_ptr<arrow::CappedMemoryPool> pool;
  int64_t limit = 0;
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

const std::string too_large = "it needs far more memory than a file of its size can; it is damaged, or made to fill memory";

// Corrupt files make Arrow return errors and parquet throw; both end here, and nothing leaves as an exception.
template <typename Body> cp_error guarded(Body &&body) noexcept {
  try {
    Status status = body();
    return status.ok() ? nullptr : text_of(status.IsOutOfMemory() ? too_large : status.message());
  } catch (const std::bad_alloc &) {
    return text_of(too_large);
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
    auto file = std::make_unique<cp_file>();
    // Not Arrow's default pool, which keeps what is given back to it.
    file->counted = std::make_unique<arrow::ProxyMemoryPool>(arrow::system_memory_pool());
    ARROW_ASSIGN_OR_RAISE(auto source, arrow::io::ReadableFile::Open(path, file->counted.get()));
    ARROW_ASSIGN_OR_RAISE(int64_t size, source->GetSize());
    // What pages claim to hold, and what they turn out to hold, is bounded before it is allocated.
    file->limit = CP_MEMORY_BASE + CP_MEMORY_PER_BYTE * std::min(size, INT64_C(1) << 40);
    file->pool = std::make_unique<arrow::CappedMemoryPool>(file->counted.get(), file->limit);
    arrow::MemoryPool *pool = file->pool.get();
    parquet::ReaderProperties properties(pool);
    properties.enable_buffered_stream();
    parquet::ArrowReaderProperties reading(/*use_threads=*/false);
    reading.set_pre_buffer(false);
    reading.set_batch_size(batch_rows);
    parquet::arrow::FileReaderBuilder builder;
    ARROW_RETURN_NOT_OK(builder.Open(source, properties));
    builder.memory_pool(pool);
    builder.properties(reading);
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
    ARROW_RETURN_NOT_OK(batch->Validate());
    for (int i = 0; i < batch->num_columns(); ++i) {
      const arrow::Array &array = *batch->column(i);
      auto &column = file->columns[static_cast<size_t>(i)];
      // Offsets and dictionary indices of a corrupt file may point anywhere. A column that nobody will ask for must not
      // stop the others.
      Status status = array.ValidateFull();
      if (status.ok()) status = coppice::append(array, file->limit, column);
      if (!status.ok()) column.refuse(array, status.message());
    }
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
  out->reason = column.reason.c_str();
  return nullptr;
}

constexpr cp_api api = {open, close, column_count, column_name, select, next, column};

} // namespace

extern "C" __attribute__((visibility("default"))) const cp_api *coppice_parquet_entry(uint32_t abi) {
  return abi == CP_ABI ? &api : nullptr;
}
