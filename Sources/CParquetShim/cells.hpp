#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <string>
#include <vector>

namespace coppice {

/// A column of rows in memory that Arrow no longer has a part in.
struct Column {
  uint32_t kind = 0;
  std::vector<uint8_t> valid;
  std::string bytes;
  std::vector<int64_t> offsets{0};
  std::vector<int64_t> integers;

  void clear();
};

/// What a type becomes: one of cp_kind.
uint32_t kind_of(const arrow::DataType &type);

/// Appends the values of an array that was validated.
arrow::Status append(const arrow::Array &array, Column &column);

} // namespace coppice
