// Where a load program sends its requests: one API server over TLS, as the holder of one bearer token.
#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "neap/io/http.h"
#include "neap/io/real_runtime.h"

namespace neap::bench {

struct TlsTarget {
  std::string url, ca, token;  // https://HOST:PORT and two files

  io::HttpRequest request(std::string method, std::string target, std::string body = {}) const {
    io::HttpRequest out;
    out.method = std::move(method);
    out.target = std::move(target);
    out.body = std::move(body);
    out.headers.set("Authorization", "Bearer " + token_text);
    if (!out.body.empty()) out.headers.set("Content-Type", "application/json");
    return out;
  }
  // Reads both files; ends the process with 2 where one cannot be read or used.
  std::unique_ptr<io::HttpClient> connect(io::Runtime& runtime, std::size_t connections) {
    token_text = text_of(runtime, token);
    const auto address = io::Endpoint::parse(url.substr(url.find("//") + 2));
    if (!address) give_up(address.error());
    const auto tls =
        io::make_tls_client_context({.roots_pem = text_of(runtime, ca), .server_name = address->host});
    if (!tls) give_up(tls.error());
    io::HttpClientOptions options{.tls = *tls, .limits = {}, .idle_connections_max = connections};
    options.limits.body_bytes_max = 256u << 20;
    return std::make_unique<io::HttpClient>(runtime, *address, std::move(options));
  }

  std::string token_text;

 private:
  [[noreturn]] static void give_up(const Error& error) {
    fmt::print(stderr, "{}\n", error.to_string());
    std::exit(2);
  }
  static std::string text_of(io::Runtime& runtime, const std::string& path) {
    auto text = runtime.files().read_file(path, 1u << 20);
    if (!text) give_up(text.error());
    while (text->ends_with('\n')) text->pop_back();
    return *std::move(text);
  }
};

}  // namespace neap::bench
