#include <arrow/api.h>
#include <arrow/io/file.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "CParquet.h"
#include "cells.hpp"
#include "tables.hpp"

struct cp_file {
  // Before everything that holds memory of it: it goes last.
  coppice::Memory memory;
  std::unique_ptr<coppice::Table> table;
  std::vector<coppice::Column> columns;
};

struct cp_stream {
  coppice::Memory memory;
  std::shared_ptr<arrow::io::InputStream> stream;
};

coppice::Memory::Memory(int64_t size)
    : counted(std::make_unique<arrow::ProxyMemoryPool>(arrow::system_memory_pool())),
      // What pages claim to hold, and what they turn out to hold, is bounded before it is allocated.
      limit(CP_MEMORY_BASE + INT64_C(1) * CP_MEMORY_PER_BYTE * std::clamp(size, INT64_C(0), INT64_C(1) << 40)) {
  pool = std::make_unique<arrow::CappedMemoryPool>(counted.get(), limit);
}

namespace {

using arrow::Status;

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

arrow::Result<int64_t> size_of(const char *path) {
  ARROW_ASSIGN_OR_RAISE(auto file, arrow::io::ReadableFile::Open(path, arrow::system_memory_pool()));
  return file->GetSize();
}

cp_error open(const char *path, uint32_t format, uint32_t codec, cp_file **out) {
  *out = nullptr;
  return guarded([&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(int64_t size, size_of(path));
    auto file = std::unique_ptr<cp_file>(new cp_file{coppice::Memory(size), nullptr, {}});
    arrow::MemoryPool *pool = file->memory.pool.get();
    coppice::Source source;
    ARROW_ASSIGN_OR_RAISE(source, arrow::io::ReadableFile::Open(path, pool));
    if (codec != CP_PLAIN) {
      ARROW_ASSIGN_OR_RAISE(source, coppice::unpacked(source, codec, pool));
    }
    ARROW_ASSIGN_OR_RAISE(
        file->table, format == CP_ARROW ? coppice::open_ipc(source, pool) : coppice::open_parquet(source, pool));
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
  *count = static_cast<int64_t>(file->table->names.size());
  return nullptr;
}

cp_error column_name(cp_file *file, int64_t column, const char **name) {
  *name = nullptr;
  if (column < 0 || column >= static_cast<int64_t>(file->table->names.size())) return text_of("no such column");
  *name = file->table->names[static_cast<size_t>(column)].c_str();
  return nullptr;
}

cp_error select(cp_file *file, const int64_t *columns, int64_t count) {
  return guarded([&]() -> Status {
    std::vector<int> chosen;
    for (int64_t i = 0; i < count; ++i) {
      if (columns[i] < 0 || columns[i] >= static_cast<int64_t>(file->table->names.size()))
        return Status::Invalid("no such column");
      chosen.push_back(static_cast<int>(columns[i]));
    }
    ARROW_RETURN_NOT_OK(file->table->select(chosen));
    file->columns.assign(static_cast<size_t>(count), {});
    return Status::OK();
  });
}

cp_error next(cp_file *file, int64_t *rows) {
  *rows = 0;
  return guarded([&]() -> Status {
    for (auto &column : file->columns) column.clear();
    std::shared_ptr<arrow::RecordBatch> batch;
    // A batch may be empty; only a missing one is the end.
    do {
      ARROW_ASSIGN_OR_RAISE(batch, file->table->next());
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
      if (status.ok()) status = coppice::append(array, file->memory.limit, column);
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

cp_error stream_open(const char *path, uint32_t codec, cp_stream **out) {
  *out = nullptr;
  return guarded([&]() -> Status {
    // What it holds passes through: memory for a small file is enough.
    auto stream = std::unique_ptr<cp_stream>(new cp_stream{coppice::Memory(0), nullptr});
    arrow::MemoryPool *pool = stream->memory.pool.get();
    ARROW_ASSIGN_OR_RAISE(auto raw, arrow::io::ReadableFile::Open(path, pool));
    ARROW_ASSIGN_OR_RAISE(stream->stream, coppice::unpacking(raw, codec, pool));
    *out = stream.release();
    return Status::OK();
  });
}

void stream_close(cp_stream *stream) {
  (void)guarded([&]() -> Status {
    delete stream;
    return Status::OK();
  });
}

cp_error stream_read(cp_stream *stream, uint8_t *bytes, int64_t capacity, int64_t *count) {
  *count = 0;
  return guarded([&]() -> Status { return stream->stream->Read(capacity, bytes).Value(count); });
}

constexpr cp_api api = {open,   close,       column_count, column_name, select,
                        next,   column,      stream_open,  stream_close, stream_read};

} // namespace

extern "C" __attribute__((visibility("default"))) const cp_api *coppice_parquet_entry(uint32_t abi) {
  return abi == CP_ABI ? &api : nullptr;
}
