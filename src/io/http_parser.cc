#include "internal/http_parser.h"

#include "internal/asio.h"

#include <boost/beast/http/basic_parser.hpp>

namespace neap::io {
namespace {

namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using beast::error_code;

bool same_word(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if ((a[i] | 0x20) != (b[i] | 0x20)) return false;
  return true;
}

std::string_view view(beast::string_view s) { return {s.data(), s.size()}; }

// Collects what the parser reports, and refuses what Beast would let through.
struct Collector {
  const HttpLimits* limits = nullptr;
  MessageHead head;
  Status refused;
  std::size_t skipped = 0, scanned = 0;  // of the bytes before the head, and of the head
  bool has_length = false, has_encoding = false;

  void refuse(error_code& ec, Code code, std::string reason, std::string message) {
    refused = fail(code, std::move(reason), std::move(message));
    ec = bhttp::error::bad_field;
  }
  void field(std::string_view name, std::string_view value, error_code& ec) {
    if (head.headers.all().size() >= limits->header_count_max)
      return refuse(ec, Code::kResourceExhausted, "http.headers.too_many",
                    fmt::format("the message has more than {} header fields", limits->header_count_max));
    if (same_word(name, "content-length")) {
      if (has_length || has_encoding)
        return refuse(ec, Code::kInvalidArgument, "http.length.ambiguous",
                      "the message declares its length twice");
      has_length = true;
      for (const char c : value)
        if (c < '0' || c > '9')
          return refuse(ec, Code::kInvalidArgument, "http.length.invalid", "Content-Length is not a number");
    } else if (same_word(name, "transfer-encoding")) {
      if (has_length || has_encoding)
        return refuse(ec, Code::kInvalidArgument, "http.length.ambiguous",
                      "the message declares its length twice");
      has_encoding = true;
      if (!same_word(value, "chunked"))
        return refuse(ec, Code::kInvalidArgument, "http.encoding.unsupported",
                      "the only Transfer-Encoding understood here is chunked");
    }
    head.headers.add(name, std::string(value));
  }
};

template <bool kIsRequest>
class Parser final : public bhttp::basic_parser<kIsRequest> {
 public:
  Collector got;

 private:
  void on_request_impl(bhttp::verb, beast::string_view method, beast::string_view target, int version,
                       error_code&) override {
    got.head.method = std::string(view(method));
    got.head.target = std::string(view(target));
    got.head.version = version;
  }
  void on_response_impl(int status, beast::string_view, int version, error_code&) override {
    got.head.status = status;
    got.head.version = version;
  }
  void on_field_impl(bhttp::field, beast::string_view name, beast::string_view value,
                     error_code& ec) override {
    got.field(view(name), view(value), ec);
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code&) override {}
  std::size_t on_body_impl(beast::string_view body, error_code&) override { return body.size(); }
  void on_chunk_header_impl(std::uint64_t, beast::string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view body, error_code&) override {
    return body.size();
  }
  void on_finish_impl(error_code&) override {}
};

// A folded line continues the one before it: some peers join the two and some do not.
bool has_folded_line(std::string_view head) {
  return head.find("\n ") != std::string_view::npos || head.find("\n\t") != std::string_view::npos;
}

std::unexpected<Error> head_too_large(std::string_view text, std::size_t max) {
  if (text.substr(0, max).find("\r\n") == std::string_view::npos)
    return fail(Code::kInvalidArgument, "http.target.too_long", "the first line of the message is too long");
  return fail(Code::kResourceExhausted, "http.headers.too_large",
              fmt::format("the message head is larger than {} bytes", max));
}

std::unexpected<Error> head_error(const Collector& got, const error_code& ec) {
  if (!got.refused) return fail(got.refused.error());
  const std::string detail = fmt::format("the message head is malformed: {}", ec.message());
  if (ec == bhttp::error::multiple_content_length || ec == bhttp::error::bad_transfer_encoding ||
      (ec == bhttp::error::bad_content_length && (got.has_encoding || got.has_length)))
    return fail(Code::kInvalidArgument, "http.length.ambiguous", detail);
  if (ec == bhttp::error::bad_content_length)
    return fail(Code::kInvalidArgument, "http.length.invalid", detail);
  return fail(Code::kInvalidArgument, "http.malformed", detail);
}

// The head is given to the parser whole: fed piecemeal, Beast limits single lines, not their sum.
template <bool kIsRequest>
Result<bool> put_head_of(Parser<kIsRequest>& parser, std::string_view data, std::size_t& used) {
  Collector& got = parser.got;
  const std::size_t max = got.limits->header_bytes_max;
  used = 0;
  // RFC 9112, 2.2: a server ignores an empty line before the request line.
  while (kIsRequest && got.scanned == 0 && got.skipped < 4 && data.substr(got.skipped).starts_with("\r\n"))
    got.skipped += 2;
  const std::string_view text = data.substr(got.skipped);
  if (kIsRequest && text == "\r") return false;
  const std::size_t resume = got.scanned < 3 ? 0 : got.scanned - 3;
  const auto end = text.find("\r\n\r\n", resume);
  if (const auto nul = text.substr(0, end).find('\0', resume); nul != std::string_view::npos)
    return fail(Code::kInvalidArgument, "http.malformed", "the message head contains a NUL");
  if (end == std::string_view::npos ? text.size() > max : end + 4 > max) return head_too_large(text, max);
  if (end == std::string_view::npos) {
    got.scanned = text.size();
    return false;
  }
  error_code ec;
  const std::size_t n = parser.put(boost::asio::const_buffer(text.data(), end + 4), ec);
  if (ec) return head_error(got, ec);
  if (has_folded_line(text.substr(0, n)))
    return fail(Code::kInvalidArgument, "http.header.folded", "the message head has a folded header line");
  used = got.skipped + n;
  MessageHead& head = parser.got.head;
  head.keep_alive = parser.keep_alive();
  if (parser.chunked()) {
    if (head.version < 11)
      return fail(Code::kInvalidArgument, "http.encoding.unsupported", "HTTP/1.0 has no Transfer-Encoding");
    head.framing = Framing::kChunked;
  } else if (const auto length = parser.content_length()) {
    head.framing = Framing::kLength;
    head.length = *length;
  } else {
    head.framing = kIsRequest ? Framing::kNone : Framing::kUntilEnd;
  }
  if (parser.is_done()) head.framing = Framing::kNone, head.length = 0;
  if (head.framing == Framing::kLength && head.length == 0) head.framing = Framing::kNone;
  return true;
}

}  // namespace

namespace {

// Chunked bodies (RFC 9112, 7.1), line by line. Our own: resumed in the middle of a last chunk, Beast's
// decoder of 1.81 fails an assertion, so that any peer could end the process.
class ChunkDecoder {
 public:
  Result<bool> put(std::string_view data, std::size_t& used, std::string& out) {
    used = 0;
    while (state_ != State::kDone) {
      const std::string_view rest = data.substr(used);
      if (rest.empty()) return false;
      if (state_ == State::kData) {
        const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(left_, rest.size()));
        out.append(rest.substr(0, n));
        used += n;
        left_ -= n;
        if (left_ == 0) state_ = State::kDataEnd;
        continue;
      }
      if (state_ == State::kDataEnd) {
        if (!std::string_view("\r\n").starts_with(rest.substr(0, 2)))
          return bad("a chunk is longer than its size says");
        if (rest.size() < 2) return false;
        used += 2;
        state_ = State::kSize;
        continue;
      }
      const auto end = rest.find("\r\n");
      const auto line = rest.substr(0, end);
      if (line.size() > kLineMax) return bad("a line is too long");
      if (state_ == State::kSize && hex_digit(line.empty() ? '-' : line[0]) < 0)
        return bad("a chunk has no size");
      if (end == std::string_view::npos) return false;
      used += end + 2;
      NEAP_TRY_VOID(take_line(line));
    }
    return true;
  }

 private:
  enum class State { kSize, kData, kDataEnd, kTrailer, kDone };
  static constexpr std::size_t kLineMax = 4096;
  static constexpr int kTrailerLinesMax = 32;

  static std::unexpected<Error> bad(std::string_view why) {
    return fail(Code::kInvalidArgument, "http.chunk.malformed",
                fmt::format("the chunked body is malformed: {}", why));
  }
  static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char l = static_cast<char>(c | 0x20);
    return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
  }
  Status take_line(std::string_view line) {
    for (const char c : line)
      if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f)
        return bad("a line has a control character");
    if (state_ == State::kTrailer) {
      if (line.empty())
        state_ = State::kDone;
      else if (++trailer_lines_ > kTrailerLinesMax || !is_token(line.substr(0, line.find(':'))) ||
               line.find(':') == std::string_view::npos)
        return bad("its trailer is none");
      return ok();
    }
    std::uint64_t size = 0;
    std::size_t digits = 0;
    for (; digits < line.size() && hex_digit(line[digits]) >= 0; ++digits) {
      if (digits == 15) return bad("a chunk's size is too large");
      size = size * 16 + static_cast<std::uint64_t>(hex_digit(line[digits]));
    }
    if (digits < line.size() && line[digits] != ';') return bad("a chunk's size is no number");
    left_ = size;
    state_ = size == 0 ? State::kTrailer : State::kData;
    return ok();
  }
  State state_ = State::kSize;
  std::uint64_t left_ = 0;
  int trailer_lines_ = 0;
};

}  // namespace

struct HttpParser::Impl {
  ChunkDecoder chunks;
  std::optional<Parser<true>> request;
  std::optional<Parser<false>> response;
  HttpLimits limits;
  template <class F>
  decltype(auto) with(F f) {
    return request ? f(*request) : f(*response);
  }
};

HttpParser::HttpParser(Kind kind, const HttpLimits& limits) : impl_(std::make_unique<Impl>()) {
  impl_->limits = limits;
  if (kind == Kind::kRequest)
    impl_->request.emplace();
  else
    impl_->response.emplace();
  impl_->with([&](auto& parser) {
    parser.got.limits = &impl_->limits;
    parser.header_limit(static_cast<std::uint32_t>(limits.header_bytes_max + 1));
    parser.body_limit(boost::none);
    return 0;
  });
}
HttpParser::~HttpParser() = default;
HttpParser::HttpParser(HttpParser&&) noexcept = default;
HttpParser& HttpParser::operator=(HttpParser&&) noexcept = default;

void HttpParser::expect_no_body() {
  if (impl_->response) impl_->response->skip(true);
}

Result<bool> HttpParser::put_head(std::string_view data, std::size_t& used) {
  return impl_->with([&](auto& parser) -> Result<bool> { return put_head_of(parser, data, used); });
}

MessageHead& HttpParser::head() {
  return impl_->request ? impl_->request->got.head : impl_->response->got.head;
}

Result<bool> HttpParser::put_chunked(std::string_view data, std::size_t& used, std::string& out) {
  return impl_->chunks.put(data, used, out);
}

}  // namespace neap::io
