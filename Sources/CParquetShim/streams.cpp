#include <arrow/buffer_builder.h>
#include <arrow/io/compressed.h>
#include <arrow/io/memory.h>
#include <arrow/util/compression.h>

#include <algorithm>

#include "CParquet.h"
#include "tables.hpp"

namespace coppice {
namespace {

using arrow::Compression;
using arrow::Status;

arrow::Result<Compression::type> kind_of_codec(uint32_t codec) {
  switch (codec) {
  case CP_GZIP: return Compression::GZIP;
  case CP_ZSTD: return Compression::ZSTD;
  case CP_BZ2: return Compression::BZ2;
  case CP_LZ4: return Compression::LZ4_FRAME;
  case CP_BROTLI: return Compression::BROTLI;
  default: return Status::Invalid("no such compression");
  }
}

// The stream keeps a plain pointer to its codec.
class Unpacking : public arrow::io::InputStream {
public:
  std::unique_ptr<arrow::util::Codec> codec;
  std::shared_ptr<arrow::io::CompressedInputStream> stream;

  Status Close() override { return stream->Close(); }
  bool closed() const override { return stream->closed(); }
  arrow::Result<int64_t> Tell() const override { return stream->Tell(); }
  arrow::Result<int64_t> Read(int64_t count, void *out) override { return stream->Read(count, out); }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t count) override { return stream->Read(count); }
};

} // namespace

arrow::Result<std::shared_ptr<arrow::io::InputStream>> unpacking(std::shared_ptr<arrow::io::InputStream> raw,
                                                                 uint32_t codec, arrow::MemoryPool *pool) {
  auto stream = std::make_shared<Unpacking>();
  ARROW_ASSIGN_OR_RAISE(auto kind, kind_of_codec(codec));
  ARROW_ASSIGN_OR_RAISE(stream->codec, arrow::util::Codec::Create(kind));
  ARROW_ASSIGN_OR_RAISE(stream->stream, arrow::io::CompressedInputStream::Make(stream->codec.get(), raw, pool));
  return stream;
}

arrow::Result<Source> unpacked(std::shared_ptr<arrow::io::InputStream> raw, uint32_t codec, arrow::MemoryPool *pool) {
  ARROW_ASSIGN_OR_RAISE(auto stream, unpacking(std::move(raw), codec, pool));
  arrow::BufferBuilder bytes(pool);
  while (true) {
    int64_t more = std::max(INT64_C(1) << 20, bytes.length() / 2);
    ARROW_RETURN_NOT_OK(bytes.Reserve(more));
    ARROW_ASSIGN_OR_RAISE(int64_t count, stream->Read(more, bytes.mutable_data() + bytes.length()));
    if (count == 0) break;
    bytes.UnsafeAdvance(count);
  }
  ARROW_ASSIGN_OR_RAISE(auto whole, bytes.Finish());
  return std::make_shared<arrow::io::BufferReader>(std::move(whole));
}

} // namespace coppice
