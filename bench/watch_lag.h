// How late a watcher sees events whose data carry the time they were written at ("at", nanoseconds of the
// same clock).
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "neap/io/http.h"

namespace neap::bench {

// Until the watch ends; `ready` counts up once it is answered.
inline Task<void> watch_lag(io::Runtime& runtime, io::HttpClient& http, CallContext ctx,
                            io::HttpRequest watch, std::vector<double>& lags_ms, int& ready) {
  auto stream = co_await http.open(ctx, std::move(watch));
  if (!stream || (*stream)->status() != 200) co_return;
  ++ready;
  std::string text;
  constexpr std::string_view kMark = "\"at\":\"";
  for (;;) {
    const auto n = co_await (*stream)->body().read_some(ctx, text);
    if (!n || *n == 0) co_return;
    const auto now = runtime.executor().now().time_since_epoch().count();
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      if (const auto at = text.find(kMark); at < end)
        lags_ms.push_back(double(now - std::atoll(text.c_str() + at + kMark.size())) / 1e6);
      text.erase(0, end + 1);
    }
  }
}

}  // namespace neap::bench
