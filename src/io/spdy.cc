#include "neap/io/spdy.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>

namespace neap::io {
namespace {

constexpr std::uint16_t kControlBit = 0x8000, kVersion = 3;
constexpr std::uint8_t kFin = 1, kUnidirectional = 2;
constexpr std::size_t kFrameHead = 8;
constexpr std::uint32_t kIdMask = 0x7fffffff;

// The dictionary both ends prime zlib with: words, each behind its length in four bytes, then a text.
constexpr std::string_view kDictionaryWords[] = {"options",
                                                 "head",
                                                 "post",
                                                 "put",
                                                 "delete",
                                                 "trace",
                                                 "accept",
                                                 "accept-charset",
                                                 "accept-encoding",
                                                 "accept-language",
                                                 "accept-ranges",
                                                 "age",
                                                 "allow",
                                                 "authorization",
                                                 "cache-control",
                                                 "connection",
                                                 "content-base",
                                                 "content-encoding",
                                                 "content-language",
                                                 "content-length",
                                                 "content-location",
                                                 "content-md5",
                                                 "content-range",
                                                 "content-type",
                                                 "date",
                                                 "etag",
                                                 "expect",
                                                 "expires",
                                                 "from",
                                                 "host",
                                                 "if-match",
                                                 "if-modified-since",
                                                 "if-none-match",
                                                 "if-range",
                                                 "if-unmodified-since",
                                                 "last-modified",
                                                 "location",
                                                 "max-forwards",
                                                 "pragma",
                                                 "proxy-authenticate",
                                                 "proxy-authorization",
                                                 "range",
                                                 "referer",
                                                 "retry-after",
                                                 "server",
                                                 "te",
                                                 "trailer",
                                                 "transfer-encoding",
                                                 "upgrade",
                                                 "user-agent",
                                                 "vary",
                                                 "via",
                                                 "warning",
                                                 "www-authenticate",
                                                 "method",
                                                 "get",
                                                 "status",
                                                 "200 OK",
                                                 "version",
                                                 "HTTP/1.1",
                                                 "url",
                                                 "public",
                                                 "set-cookie",
                                                 "keep-alive",
                                                 "origin"};
constexpr std::string_view kDictionaryText =
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 Non-"
    "Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 "
    "Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar "
    "Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, "
    "GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/"
    "plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,"
    "enq=0.";

void put_u32(std::string& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out += char(value >> shift);
}
std::uint32_t get_u32(std::string_view bytes, std::size_t at) {
  std::uint32_t out = 0;
  for (std::size_t i = 0; i < 4; ++i) out = out << 8 | std::uint8_t(bytes[at + i]);
  return out;
}

const std::string& dictionary() {
  static const std::string text = [] {
    std::string out;
    for (const auto word : kDictionaryWords) {
      put_u32(out, std::uint32_t(word.size()));
      out += word;
    }
    return out += kDictionaryText;
  }();
  return text;
}
const Bytef* bytes_of(std::string_view text) { return reinterpret_cast<const Bytef*>(text.data()); }

std::unexpected<Error> protocol_error(std::string message) {
  return fail(Code::kInvalidArgument, "spdy.protocol", std::move(message));
}
std::unexpected<Error> too_big(std::string message) {
  return fail(Code::kResourceExhausted, "spdy.too_big", std::move(message));
}

std::string control_head(SpdyType type, std::uint8_t flags, std::size_t length) {
  std::string out;
  put_u32(out, std::uint32_t(kControlBit | kVersion) << 16 | std::uint32_t(type));
  put_u32(out, std::uint32_t(flags) << 24 | std::uint32_t(length));
  return out;
}

}  // namespace

struct SpdyReader::Inflater {
  Inflater() { ::inflateInit(&z); }
  ~Inflater() { ::inflateEnd(&z); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Stops as soon as there is more than the limit, whatever the block would have become.
  Result<std::string> inflate(std::string_view block, std::size_t bytes_max) {
    std::string out;
    std::array<char, 4096> piece{};
    z.next_in = const_cast<Bytef*>(bytes_of(block));
    z.avail_in = uInt(block.size());
    for (;;) {
      z.next_out = reinterpret_cast<Bytef*>(piece.data());
      z.avail_out = uInt(piece.size());
      int code = ::inflate(&z, Z_SYNC_FLUSH);
      if (code == Z_NEED_DICT) {
        code = ::inflateSetDictionary(&z, bytes_of(dictionary()), uInt(dictionary().size()));
        if (code == Z_OK) continue;
      }
      out.append(piece.data(), piece.size() - z.avail_out);
      if (out.size() > bytes_max) return too_big(fmt::format("headers are above {} bytes", bytes_max));
      // Z_BUF_ERROR: all of it was read and nothing more can come of it.
      if (code == Z_BUF_ERROR || (code == Z_OK && z.avail_in == 0 && z.avail_out > 0)) return out;
      if (code != Z_OK) return protocol_error("a header block is not in the connection's zlib stream");
    }
  }
  z_stream z{};
};

SpdyReader::SpdyReader(SpdyLimits limits) : limits_(limits), inflater_(std::make_unique<Inflater>()) {}
SpdyReader::~SpdyReader() = default;
void SpdyReader::put(std::string_view bytes) { buffer_.put(bytes); }

Result<std::optional<SpdyFrame>> SpdyReader::next() {
  for (;;) {
    const auto buffer = buffer_.view();
    if (data_left_ > 0) {
      if (buffer.empty()) return std::nullopt;
      SpdyFrame out;
      out.stream = data_stream_;
      out.data = buffer.substr(0, data_left_);
      buffer_.take(out.data.size());
      data_left_ -= std::uint32_t(out.data.size());
      out.is_last = data_is_last_ && data_left_ == 0;
      return out;
    }
    if (buffer.size() < kFrameHead) return std::nullopt;
    const auto first = get_u32(buffer, 0), second = get_u32(buffer, 4);
    const auto flags = std::uint8_t(second >> 24);
    const auto length = second & 0xffffff;
    if (first >> 31 == 0) {
      buffer_.take(kFrameHead);
      data_stream_ = first;
      data_left_ = length;
      data_is_last_ = flags & kFin;
      if (first == 0) return protocol_error("data for stream 0");
      if (length > 0) continue;
      SpdyFrame end;
      end.stream = data_stream_;
      end.is_last = data_is_last_;
      return end;
    }
    if ((first >> 16 & 0x7fff) != kVersion)
      return protocol_error(fmt::format("a frame of SPDY version {}, not 3", first >> 16 & 0x7fff));
    if (length > limits_.control_bytes_max)
      return too_big(
          fmt::format("a control frame of {} bytes is above {}", length, limits_.control_bytes_max));
    if (buffer.size() < kFrameHead + length) return std::nullopt;
    const std::string body(buffer.substr(kFrameHead, length));
    buffer_.take(kFrameHead + length);
    NEAP_TRY(auto frame, read_control(std::uint16_t(first), flags, body));
    return frame;
  }
}

Result<SpdyFrame> SpdyReader::read_control(std::uint16_t type, std::uint8_t flags, std::string_view body) {
  SpdyFrame out;
  out.type = SpdyType(type);
  out.is_last = flags & kFin;
  // How much stands before the headers, or all of it.
  std::size_t fixed = 0;
  switch (out.type) {
    case SpdyType::kSynStream:
      fixed = 10;
      break;
    case SpdyType::kSynReply:
    case SpdyType::kHeaders:
    case SpdyType::kPing:
    case SpdyType::kSettings:
      fixed = 4;
      break;
    case SpdyType::kRstStream:
    case SpdyType::kGoAway:
    case SpdyType::kWindowUpdate:
      fixed = 8;
      break;
    default:
      return protocol_error(fmt::format("there is no control frame of type {}", type));
  }
  if (body.size() < fixed)
    return protocol_error(fmt::format("a control frame of type {} is too short", type));
  if (out.type == SpdyType::kSettings) return out;
  out.stream = get_u32(body, 0) & kIdMask;
  if (out.type == SpdyType::kPing) out.value = get_u32(body, 0);
  if (fixed == 8) out.value = get_u32(body, 4);
  const bool has_headers =
      out.type == SpdyType::kSynStream || out.type == SpdyType::kSynReply || out.type == SpdyType::kHeaders;
  if (!has_headers && body.size() != fixed)
    return protocol_error(fmt::format("a control frame of type {} is too long", type));
  if (!has_headers) return out;
  if (out.stream == 0) return protocol_error("headers for stream 0");
  if (out.type == SpdyType::kSynStream && (flags & kUnidirectional))
    return protocol_error("a stream that takes no answer");
  NEAP_TRY(out.headers, read_headers(body.substr(fixed)));
  return out;
}

Result<SpdyHeaders> SpdyReader::read_headers(std::string_view block) {
  NEAP_TRY(const auto text, inflater_->inflate(block, limits_.header_bytes_max));
  SpdyHeaders out;
  if (text.empty()) return out;
  std::size_t at = 0;
  const auto read_number = [&]() -> Result<std::uint32_t> {
    if (text.size() - at < 4) return protocol_error("a header block ends within a number");
    at += 4;
    return get_u32(text, at - 4);
  };
  const auto read_text = [&]() -> Result<std::string> {
    NEAP_TRY(const auto length, read_number());
    if (length > text.size() - at) return protocol_error("a header is longer than its block");
    at += length;
    return text.substr(at - length, length);
  };
  NEAP_TRY(const auto count, read_number());
  if (count > limits_.header_count_max)
    return too_big(fmt::format("{} headers are more than {}", count, limits_.header_count_max));
  for (std::uint32_t i = 0; i < count; ++i) {
    NEAP_TRY(auto name, read_text());
    NEAP_TRY(auto value, read_text());
    if (name.empty()) return protocol_error("a header has no name");
    out.emplace_back(std::move(name), std::move(value));
  }
  if (at != text.size()) return protocol_error("a header block goes on after its headers");
  return out;
}

struct SpdyWriter::Deflater {
  Deflater() {
    ::deflateInit(&z, Z_BEST_SPEED);
    ::deflateSetDictionary(&z, bytes_of(dictionary()), uInt(dictionary().size()));
  }
  ~Deflater() { ::deflateEnd(&z); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  z_stream z{};
};

SpdyWriter::SpdyWriter() : deflater_(std::make_unique<Deflater>()) {}
SpdyWriter::~SpdyWriter() = default;

std::string SpdyWriter::header_block(const SpdyHeaders& headers) {
  std::string text, out;
  put_u32(text, std::uint32_t(headers.size()));
  for (const auto& [name, value] : headers)
    for (const auto* part : {&name, &value}) {
      put_u32(text, std::uint32_t(part->size()));
      text += *part;
    }
  auto& z = deflater_->z;
  std::array<char, 4096> piece{};
  z.next_in = const_cast<Bytef*>(bytes_of(text));
  z.avail_in = uInt(text.size());
  do {
    z.next_out = reinterpret_cast<Bytef*>(piece.data());
    z.avail_out = uInt(piece.size());
    ::deflate(&z, Z_SYNC_FLUSH);
    out.append(piece.data(), piece.size() - z.avail_out);
  } while (z.avail_out == 0);
  return out;
}

std::string SpdyWriter::data(std::uint32_t stream, std::string_view bytes, bool is_last) {
  std::string out;
  out.reserve(kFrameHead + bytes.size());
  put_u32(out, stream & kIdMask);
  put_u32(out, std::uint32_t(is_last ? kFin : 0) << 24 | std::uint32_t(bytes.size()));
  return out += bytes;
}

std::string SpdyWriter::syn_stream(std::uint32_t stream, const SpdyHeaders& headers, bool is_last) {
  std::string body;
  put_u32(body, stream & kIdMask);
  put_u32(body, 0);      // no associated stream
  body.append(2, '\0');  // priority, slot
  body += header_block(headers);
  return control_head(SpdyType::kSynStream, is_last ? kFin : 0, body.size()) + body;
}

std::string SpdyWriter::syn_reply(std::uint32_t stream, const SpdyHeaders& headers) {
  std::string body;
  put_u32(body, stream & kIdMask);
  body += header_block(headers);
  return control_head(SpdyType::kSynReply, 0, body.size()) + body;
}

std::string SpdyWriter::rst_stream(std::uint32_t stream, std::uint32_t status) {
  auto out = control_head(SpdyType::kRstStream, 0, 8);
  put_u32(out, stream & kIdMask);
  put_u32(out, status);
  return out;
}

std::string SpdyWriter::ping(std::uint32_t id) {
  auto out = control_head(SpdyType::kPing, 0, 4);
  put_u32(out, id);
  return out;
}

std::string SpdyWriter::go_away(std::uint32_t last_stream, std::uint32_t status) {
  auto out = control_head(SpdyType::kGoAway, 0, 8);
  put_u32(out, last_stream & kIdMask);
  put_u32(out, status);
  return out;
}

}  // namespace neap::io
