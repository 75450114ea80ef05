#pragma once

// Reading Parquet, Arrow's own format and compressed files through Arrow's C++ library, without a word of Arrow: a table
// of functions that a shared library of its own (CParquetShim) fills, opened when the first such file is.

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __clang__
#pragma clang assume_nonnull begin
#endif

/// Raised with every change of this header; the library of another build is refused.
#define CP_ABI 3
#define CP_ENTRY "coppice_parquet_entry"

/// NULL when all went well; otherwise a text that the caller frees with `free`.
typedef char *_Nullable cp_error;

typedef struct cp_file cp_file;
typedef struct cp_stream cp_stream;

/// What a file of rows is.
typedef enum cp_format {
  CP_PARQUET = 0,
  /// Arrow's stream or file format: which of the two its first bytes say.
  CP_ARROW = 1,
} cp_format;

/// What a file is compressed with as a whole.
typedef enum cp_codec {
  CP_PLAIN = 0,
  CP_GZIP = 1,
  CP_ZSTD = 2,
  CP_BZ2 = 3,
  /// Frames of LZ4.
  CP_LZ4 = 4,
  CP_BROTLI = 5,
} cp_codec;

typedef enum cp_kind {
  /// Strings: `bytes[offsets[i] ..< offsets[i + 1]]`, in no promised encoding.
  CP_TEXT = 0,
  /// Whole numbers of any width: `integers[i]`.
  CP_INTEGER = 1,
  /// Anything else that JSON can say (lists, structs, numbers, booleans): its JSON text, as for strings.
  CP_JSON = 2,
  /// What cannot be made into any of these: `reason` says why. Only `valid` and `rows` are filled.
  CP_UNREADABLE = 3,
} cp_kind;

// A file may use as much memory as a file of its size can need, with room to spare: well packed text becomes a
// hundred times as long, and small files have a base to start from.
// 64 MiB, spelled so that Swift sees it.
#define CP_MEMORY_BASE 67108864
#define CP_MEMORY_PER_BYTE 256

/// One column of the rows last read. Its memory is the file's, until the next call of `next` or `close`.
typedef struct cp_column {
  uint32_t kind;
  int64_t rows;
  /// One byte for each row: 0 where the value is null.
  const uint8_t *_Nullable valid;
  const uint8_t *_Nullable bytes;
  /// rows + 1 offsets into bytes; all zero in a column of whole numbers.
  const int64_t *_Nullable offsets;
  /// One for each row; zero in other columns.
  const int64_t *_Nullable integers;
  /// Why an unreadable column is one.
  const char *_Nullable reason;
} cp_column;

typedef struct cp_api {
  /// A file of rows. One that is compressed as a whole is unpacked in memory, within the bounds above.
  cp_error (*_Nonnull open)(const char *path, uint32_t format, uint32_t codec, cp_file *_Nullable *_Nonnull file);
  void (*_Nonnull close)(cp_file *file);
  cp_error (*_Nonnull column_count)(cp_file *file, int64_t *count);
  /// The name of a top-level column, UTF-8 or not; it is the file's.
  cp_error (*_Nonnull column_name)(cp_file *file, int64_t column, const char *_Nullable *_Nonnull name);
  /// Chooses top-level columns and goes to the first row.
  cp_error (*_Nonnull select)(cp_file *file, const int64_t *columns, int64_t count);
  /// Reads some more rows; none at the end of the file.
  cp_error (*_Nonnull next)(cp_file *file, int64_t *rows);
  /// The rows just read, of the column that stands at this place of the selection.
  cp_error (*_Nonnull column)(cp_file *file, int64_t selected, cp_column *column);
  /// A compressed file, to be read from front to back.
  cp_error (*_Nonnull stream_open)(const char *path, uint32_t codec, cp_stream *_Nullable *_Nonnull stream);
  void (*_Nonnull stream_close)(cp_stream *stream);
  /// Reads up to `capacity` bytes; none at the end. A file that ends too early is an error.
  cp_error (*_Nonnull stream_read)(cp_stream *stream, uint8_t *bytes, int64_t capacity, int64_t *count);
} cp_api;

typedef const cp_api *_Nullable (*cp_entry)(uint32_t abi);

/// Finds and opens the library: the file that COPPICE_PARQUET_SHIM names, else libcoppice_parquet.so beside this
/// code or the executable. Arrow comes from the folder in COPPICE_ARROW, else from where it was at build time.
cp_error cp_open(const cp_api *_Nullable *_Nonnull api);

#ifdef __clang__
#pragma clang assume_nonnull end
#endif

#ifdef __cplusplus
}
#endif
