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
  std::string reason;

  void clear();
  /// Makes it a column of `array.length()` rows that cannot be read.
  void refuse(const arrow::Array &array, const std::string &why);
};

/// What a type becomes: one of cp_kind.
uint32_t kind_of(const arrow::DataType &type);

/// Appends the values of an array that was validated, as long as the column has no more than `limit` bytes.
arrow::Status append(const arrow::Array &array, int64_t limit, Column &column);

} // namespace coppice
