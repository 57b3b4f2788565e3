#include <boost/json.hpp>

#include "internal/http_parser.h"

namespace neap::io {
namespace {

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }

bool same_name(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

void Headers::set(std::string_view name, std::string value) {
  remove(name);
  add(name, std::move(value));
}
void Headers::add(std::string_view name, std::string value) {
  entries_.emplace_back(std::string(name), std::move(value));
}
void Headers::remove(std::string_view name) {
  std::erase_if(entries_, [&](const auto& e) { return same_name(e.first, name); });
}
std::string_view Headers::get(std::string_view name) const {
  for (const auto& [n, v] : entries_)
    if (same_name(n, name)) return v;
  return {};
}
bool Headers::has(std::string_view name) const {
  for (const auto& [n, v] : entries_)
    if (same_name(n, name)) return true;
  return false;
}

Result<std::string> url_decode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out += ' ';
    } else if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
      if (high < 0 || low < 0)
        return fail(Code::kInvalidArgument, "url.escape",
                    "a '%' of the URL is not followed by two hex digits");
      if (high == 0 && low == 0)
        return fail(Code::kInvalidArgument, "url.nul", "the URL contains an encoded NUL");
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string url_encode(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
        c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += kDigits[static_cast<unsigned char>(c) >> 4];
      out += kDigits[static_cast<unsigned char>(c) & 15];
    }
  }
  return out;
}

Task<Result<std::string>> BodyReader::read_all(CallContext ctx, std::uint64_t max) {
  const auto too_large = [max] {
    return fail(Code::kResourceExhausted, "http.body.too_large",
                fmt::format("the body is larger than the {} bytes accepted here", max));
  };
  std::string out;
  if (const auto length = declared_length()) {
    if (*length > max) {
      refused_too_large();
      co_return too_large();
    }
    // Trusting a declared length for a reservation would let a peer claim memory it never fills.
    out.reserve(static_cast<std::size_t>(std::min<std::uint64_t>(*length, 1u << 20)));
  }
  for (;;) {
    NEAP_CO_TRY(const std::size_t n, co_await read_some(ctx, out));
    if (out.size() > max) {
      refused_too_large();
      co_return too_large();
    }
    if (n == 0) co_return out;
  }
}

std::string_view HttpRequest::query_value(std::string_view name) const {
  for (const auto& [n, v] : query)
    if (n == name) return v;
  return {};
}
bool HttpRequest::has_query(std::string_view name) const {
  for (const auto& [n, v] : query)
    if (n == name) return true;
  return false;
}

HttpResponse json_error(const Error& error) {
  HttpResponse out;
  out.status = status_of_error(error);
  out.headers.set("Content-Type", "application/json");
  out.body = boost::json::serialize(boost::json::value{{"error", error.message}, {"reason", error.reason}});
  return out;
}

int status_of_error(const Error& error) {
  struct Row {
    std::string_view reason;
    int status;
  };
  static constexpr Row kRows[] = {
      {"http.body.too_large", 413},   {"http.target.too_long", 414}, {"http.headers.too_large", 431},
      {"http.headers.too_many", 431}, {"http.headers.timeout", 408}, {"http.body.timeout", 408},
      {"http.body.truncated", 400},
  };
  for (const auto& row : kRows)
    if (row.reason == error.reason) return row.status;
  return http_status(error.code);
}

Status parse_target(HttpRequest& request) {
  const auto bad = [](std::string_view why) {
    return fail(Code::kInvalidArgument, "http.target.invalid", fmt::format("the request's target {}", why));
  };
  std::string_view target = request.target;
  if (target == "*" && request.method == "OPTIONS") {
    request.path = "*";
    return ok();
  }
  if (target.starts_with("http://") || target.starts_with("https://")) {
    target.remove_prefix(target.find("//") + 2);
    const auto slash = target.find('/');
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  if (!target.starts_with('/')) return bad("does not start with '/'");
  if (target.find('#') != std::string_view::npos) return bad("contains a fragment");
  const auto question = target.find('?');
  NEAP_TRY(request.path, url_decode(target.substr(0, question)));
  for (const char c : request.path)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f || c == '\\')
      return bad("contains a control character or '\\'");
  if (request.path.find("//") != std::string::npos) return bad("contains an empty path segment");
  for (std::string_view rest = request.path; !rest.empty();) {
    rest.remove_prefix(1);
    const auto segment = rest.substr(0, rest.find('/'));
    if (segment == "." || segment == "..") return bad("contains a '.' or '..' path segment");
    rest.remove_prefix(segment.size());
  }
  if (question == std::string_view::npos) return ok();
  for (std::string_view rest = target.substr(question + 1); !rest.empty();) {
    const auto piece = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(piece.size() + 1, rest.size()));
    if (piece.empty()) continue;
    if (request.query.size() >= 1024) return bad("has more than 1024 query parameters");
    const auto equals = piece.find('=');
    NEAP_TRY(auto name, url_decode(piece.substr(0, equals), true));
    NEAP_TRY(auto value, url_decode(equals == std::string_view::npos ? "" : piece.substr(equals + 1), true));
    request.query.emplace_back(std::move(name), std::move(value));
  }
  return ok();
}

bool is_token(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text)
    if (c <= ' ' || c >= 127 || std::string_view("\"(),/:;<=>?@[\\]{}").find(c) != std::string_view::npos)
      return false;
  return true;
}

Status append_headers(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers.all()) {
    bool clean = is_token(name);
    for (const char c : value) clean = clean && c != '\r' && c != '\n' && c != '\0';
    if (!clean)
      return fail(Code::kInvalidArgument, "http.header.invalid",
                  fmt::format("the header \"{}\" has a name or value that cannot be sent", name));
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
  }
  return ok();
}

std::string_view reason_phrase(int status) {
  switch (status) {
    case 100:
      return "Continue";
    case 101:
      return "Switching Protocols";
    case 200:
      return "OK";
    case 201:
      return "Created";
    case 202:
      return "Accepted";
    case 204:
      return "No Content";
    case 206:
      return "Partial Content";
    case 301:
      return "Moved Permanently";
    case 302:
      return "Found";
    case 303:
      return "See Other";
    case 304:
      return "Not Modified";
    case 307:
      return "Temporary Redirect";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 406:
      return "Not Acceptable";
    case 408:
      return "Request Timeout";
    case 409:
      return "Conflict";
    case 410:
      return "Gone";
    case 411:
      return "Length Required";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 414:
      return "URI Too Long";
    case 415:
      return "Unsupported Media Type";
    case 416:
      return "Range Not Satisfiable";
    case 422:
      return "Unprocessable Content";
    case 429:
      return "Too Many Requests";
    case 431:
      return "Request Header Fields Too Large";
    case 500:
      return "Internal Server Error";
    case 501:
      return "Not Implemented";
    case 502:
      return "Bad Gateway";
    case 503:
      return "Service Unavailable";
    case 504:
      return "Gateway Timeout";
    default:
      return "Status";
  }
}

}  // namespace neap::io
