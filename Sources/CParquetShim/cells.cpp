#include "cells.hpp"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string_view>

#include "CParquet.h"

namespace coppice {
namespace {

using arrow::Status;
using arrow::Type;

// Deeper than any data set; Arrow's own readers recurse with the schema too.
constexpr int maximum_depth = 32;

// `datasets` keeps objects without a common shape as their JSON text, in a type of that name.
bool is_json(const arrow::DataType &type) {
  return type.id() == Type::EXTENSION && static_cast<const arrow::ExtensionType &>(type).extension_name() == "arrow.json";
}

bool is_text(const arrow::DataType &type) {
  switch (type.id()) {
  case Type::STRING:
  case Type::LARGE_STRING:
  case Type::STRING_VIEW:
  case Type::BINARY:
  case Type::LARGE_BINARY:
  case Type::BINARY_VIEW: return true;
  case Type::DICTIONARY: return is_text(*static_cast<const arrow::DictionaryType &>(type).value_type());
  default: return false;
  }
}

Status text_at(const arrow::Array &array, int64_t row, std::string_view *text) {
  switch (array.type_id()) {
  case Type::STRING:
  case Type::BINARY: *text = static_cast<const arrow::BinaryArray &>(array).GetView(row); break;
  case Type::LARGE_STRING:
  case Type::LARGE_BINARY: *text = static_cast<const arrow::LargeBinaryArray &>(array).GetView(row); break;
  case Type::STRING_VIEW:
  case Type::BINARY_VIEW: *text = static_cast<const arrow::BinaryViewArray &>(array).GetView(row); break;
  default: return Status::Invalid("a column of type ", array.type()->ToString(), " holds no text");
  }
  return Status::OK();
}

Status integer_at(const arrow::Array &array, int64_t row, int64_t *value) {
  switch (array.type_id()) {
  case Type::INT8: *value = static_cast<const arrow::Int8Array &>(array).Value(row); break;
  case Type::INT16: *value = static_cast<const arrow::Int16Array &>(array).Value(row); break;
  case Type::INT32: *value = static_cast<const arrow::Int32Array &>(array).Value(row); break;
  case Type::INT64: *value = static_cast<const arrow::Int64Array &>(array).Value(row); break;
  case Type::UINT8: *value = static_cast<const arrow::UInt8Array &>(array).Value(row); break;
  case Type::UINT16: *value = static_cast<const arrow::UInt16Array &>(array).Value(row); break;
  case Type::UINT32: *value = static_cast<const arrow::UInt32Array &>(array).Value(row); break;
  case Type::UINT64: {
    uint64_t wide = static_cast<const arrow::UInt64Array &>(array).Value(row);
    if (wide > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      return Status::Invalid("the number ", wide, " is too large");
    *value = static_cast<int64_t>(wide);
    break;
  }
  default: return Status::Invalid("a column of type ", array.type()->ToString(), " holds no whole numbers");
  }
  return Status::OK();
}

bool is_whole(Type::type id) { return id >= Type::UINT8 && id <= Type::INT64; }

void quote(std::string_view text, std::string &out) {
  out += '"';
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", byte);
      out += escape;
    } else {
      out += c;
    }
  }
  out += '"';
}

void number(double value, std::string &out) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  // The shortest that reads back as the same, and never as a whole number: Python writes 1.0 so.
  char text[40];
  auto end = std::to_chars(text, text + sizeof text, value).ptr;
  std::string_view spelled(text, static_cast<size_t>(end - text));
  out += spelled;
  if (spelled.find_first_of(".e") == spelled.npos) out += ".0";
}

Status within(int64_t limit, const std::string &out) {
  if (static_cast<int64_t>(out.size()) <= limit) return Status::OK();
  return Status::CapacityError("its values take more than ", limit >> 20, " MiB, far more than a file of this size holds");
}

Status json(const arrow::Array &array, int64_t row, int depth, int64_t limit, std::string &out);

Status list(const arrow::Array &values, int64_t from, int64_t count, int depth, int64_t limit, std::string &out) {
  out += '[';
  for (int64_t i = 0; i < count; ++i) {
    if (i > 0) out += ", ";
    ARROW_RETURN_NOT_OK(json(values, from + i, depth + 1, limit, out));
    ARROW_RETURN_NOT_OK(within(limit, out));
  }
  out += ']';
  return Status::OK();
}

Status json(const arrow::Array &array, int64_t row, int depth, int64_t limit, std::string &out) {
  if (depth > maximum_depth) return Status::Invalid("values nested deeper than ", maximum_depth, " levels");
  if (array.IsNull(row)) {
    out += "null";
    return Status::OK();
  }
  Type::type id = array.type_id();
  if (id == Type::UINT64) {
    out += std::to_string(static_cast<const arrow::UInt64Array &>(array).Value(row));
    return Status::OK();
  }
  if (is_whole(id)) {
    int64_t value;
    ARROW_RETURN_NOT_OK(integer_at(array, row, &value));
    out += std::to_string(value);
    return Status::OK();
  }
  switch (id) {
  case Type::NA: out += "null"; return Status::OK();
  case Type::BOOL: out += static_cast<const arrow::BooleanArray &>(array).Value(row) ? "true" : "false"; break;
  case Type::FLOAT: number(static_cast<const arrow::FloatArray &>(array).Value(row), out); break;
  case Type::DOUBLE: number(static_cast<const arrow::DoubleArray &>(array).Value(row), out); break;
  case Type::EXTENSION: {
    const arrow::Array &storage = *static_cast<const arrow::ExtensionArray &>(array).storage();
    if (!is_json(*array.type())) return json(storage, row, depth + 1, limit, out);
    std::string_view text;
    ARROW_RETURN_NOT_OK(text_at(storage, row, &text));
    out += text;
    return Status::OK();
  }
  case Type::DICTIONARY: {
    auto &dictionary = static_cast<const arrow::DictionaryArray &>(array);
    return json(*dictionary.dictionary(), dictionary.GetValueIndex(row), depth + 1, limit, out);
  }
  case Type::LIST: {
    auto &lists = static_cast<const arrow::ListArray &>(array);
    return list(*lists.values(), lists.value_offset(row), lists.value_length(row), depth, limit, out);
  }
  case Type::LARGE_LIST: {
    auto &lists = static_cast<const arrow::LargeListArray &>(array);
    return list(*lists.values(), lists.value_offset(row), lists.value_length(row), depth, limit, out);
  }
  case Type::FIXED_SIZE_LIST: {
    auto &lists = static_cast<const arrow::FixedSizeListArray &>(array);
    return list(*lists.values(), lists.value_offset(row), lists.value_length(row), depth, limit, out);
  }
  case Type::STRUCT: {
    auto &fields = static_cast<const arrow::StructArray &>(array);
    out += '{';
    for (int i = 0; i < fields.num_fields(); ++i) {
      if (i > 0) out += ", ";
      quote(fields.struct_type()->field(i)->name(), out);
      out += ": ";
      ARROW_RETURN_NOT_OK(json(*fields.field(i), row, depth + 1, limit, out));
    }
    out += '}';
    break;
  }
  default: {
    std::string_view text;
    if (is_text(*array.type()) && text_at(array, row, &text).ok()) {
      quote(text, out);
      break;
    }
    // Dates and times lie in logged conversations, whose templates do not look at them. A column of them is no text.
    if (depth == 0 || (!arrow::is_temporal(id) && id != Type::HALF_FLOAT))
      return Status::NotImplemented("values of type ", array.type()->ToString(), " are not read");
    ARROW_ASSIGN_OR_RAISE(auto scalar, array.GetScalar(row));
    if (id != Type::HALF_FLOAT) {
      quote(scalar->ToString(), out);
      break;
    }
    ARROW_ASSIGN_OR_RAISE(auto wide, scalar->CastTo(arrow::float64()));
    number(static_cast<const arrow::DoubleScalar &>(*wide).value, out);
  }
  }
  return Status::OK();
}

} // namespace

void Column::clear() {
  valid.clear();
  bytes.clear();
  offsets.assign(1, 0);
  integers.clear();
  reason.clear();
}

void Column::refuse(const arrow::Array &array, const std::string &why) {
  clear();
  kind = CP_UNREADABLE;
  reason = why;
  for (int64_t row = 0; row < array.length(); ++row) valid.push_back(!array.IsNull(row));
  offsets.assign(static_cast<size_t>(array.length()) + 1, 0);
  integers.assign(static_cast<size_t>(array.length()), 0);
}

uint32_t kind_of(const arrow::DataType &type) {
  if (is_text(type)) return CP_TEXT;
  return is_whole(type.id()) ? CP_INTEGER : CP_JSON;
}

Status append(const arrow::Array &array, int64_t limit, Column &column) {
  column.kind = kind_of(*array.type());
  for (int64_t row = 0; row < array.length(); ++row) {
    bool valid = !array.IsNull(row);
    int64_t value = 0;
    if (valid && column.kind == CP_TEXT) {
      const arrow::Array *values = &array;
      int64_t at = row;
      while (valid && values->type_id() == Type::DICTIONARY) {
        auto &dictionary = static_cast<const arrow::DictionaryArray &>(*values);
        at = dictionary.GetValueIndex(at);
        values = dictionary.dictionary().get();
        valid = !values->IsNull(at);
      }
      if (valid) {
        std::string_view text;
        ARROW_RETURN_NOT_OK(text_at(*values, at, &text));
        column.bytes += text;
      }
    } else if (valid && column.kind == CP_INTEGER) {
      ARROW_RETURN_NOT_OK(integer_at(array, row, &value));
    } else if (valid) {
      ARROW_RETURN_NOT_OK(json(array, row, 0, limit, column.bytes));
    }
    ARROW_RETURN_NOT_OK(within(limit, column.bytes));
    column.valid.push_back(valid);
    column.integers.push_back(value);
    column.offsets.push_back(static_cast<int64_t>(column.bytes.size()));
  }
  return Status::OK();
}

} // namespace coppice
