#include <charconv>

#include "neap/io/runtime.h"

namespace neap::io {

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return fail(
        Code::kInvalidArgument, "endpoint.format",
        fmt::format("\"{}\" is not an endpoint: {}; write host:port, [ipv6]:port or unix:/path", text, why));
  };
  Endpoint out;
  if (text.starts_with("unix:")) {
    out.unix_path = std::string(text.substr(5));
    if (out.unix_path.empty()) return bad("the path is empty");
    if (out.unix_path.find('\0') != std::string::npos) return bad("the path has a NUL");
    return out;
  }
  std::string_view port;
  if (text.starts_with('[')) {
    const auto close = text.find(']');
    if (close == std::string_view::npos) return bad("']' is missing");
    out.host = std::string(text.substr(1, close - 1));
    if (close + 1 >= text.size() || text[close + 1] != ':') return bad("the port is missing");
    port = text.substr(close + 2);
  } else {
    const auto colon = text.rfind(':');
    if (colon == std::string_view::npos) return bad("the port is missing");
    out.host = std::string(text.substr(0, colon));
    if (out.host.find(':') != std::string::npos) return bad("an IPv6 address needs brackets");
    port = text.substr(colon + 1);
  }
  if (out.host.empty()) return bad("the host is empty");
  for (const char c : out.host)
    if (c <= ' ' || c == 127 || c == '/' || c == '@') return bad("the host has a character that no host has");
  unsigned value = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (error != std::errc{} || end != port.data() + port.size() || value > 65535 || port.empty())
    return bad("the port is not a number up to 65535");
  out.port = static_cast<std::uint16_t>(value);
  return out;
}

std::string Endpoint::to_string() const {
  if (!unix_path.empty()) return "unix:" + unix_path;
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

}  // namespace neap::io
