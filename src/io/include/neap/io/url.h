// http(s) URLs that come from outside (an identity provider's documents), and one request to one of them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/io/http.h"

namespace neap::io {

// "https://host:8443/path?query" (RFC 3986); no user information, no fragment.
struct Url {
  bool is_tls = true;
  Endpoint endpoint;   // with the scheme's port where none is named
  std::string target;  // path and query; "/" where there is none
  // kInvalidArgument "url.syntax".
  static Result<Url> parse(std::string_view text);
};

// name=value&... with both percent-encoded, as forms and queries carry them.
std::string form_encode(const std::vector<std::pair<std::string, std::string>>& fields);

// One request on a connection of its own; `request.target` is taken from the URL. Redirects are not followed.
// `roots_pem`: who may have signed the server's certificate; empty: the system's roots.
Task<Result<HttpResponse>> fetch(Runtime& runtime, CallContext ctx, std::string url, HttpRequest request,
                                 std::string roots_pem = {}, std::uint64_t body_bytes_max = 1u << 20);

}  // namespace neap::io
