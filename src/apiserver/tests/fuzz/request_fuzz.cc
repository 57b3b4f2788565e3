// One request to a whole API server on a memory store: "METHOD TARGET CONTENT-TYPE\n" and the body.
// Whatever comes, the answer is no server error, and a refusal says why.
#include <cstdint>
#include <cstdlib>

#include "tests/world.h"

namespace {

using namespace neap::apiserver;

constexpr int kRequestsOfOneServer = 500;

World& world() {
  static std::unique_ptr<World> one;
  static int used = 0;
  if (!one || ++used % kRequestsOfOneServer == 0) {
    one.reset();
    one = std::make_unique<World>();
    one->post("/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"c","labels":{"a":"b"}}})");
    one->post("/apis/neap.dev/v1/namespaces/default/trainingjobs",
              R"({"metadata":{"name":"a"},"spec":{"command":["x"],"replicas":2}})");
  }
  return *one;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return c > 32 && c < 127; });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  GTEST_FLAG_SET(break_on_failure, true);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = text.substr(0, text.find('\n'));
  const auto first = line.find(' '), second = line.find(' ', first + 1);
  if (second == std::string_view::npos) return 0;
  const auto method = line.substr(0, first), target = line.substr(first + 1, second - first - 1),
             content = line.substr(second + 1);
  static constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"};
  // What is not a request at all is for the HTTP parser's own target.
  if (std::ranges::find(kMethods, method) == std::end(kMethods) || !is_token(target) || target[0] != '/' ||
      !is_token(content))
    return 0;
  const auto body = line.size() == text.size() ? std::string_view() : text.substr(line.size() + 1);
  const auto answer = world().call(std::string(method), std::string(target), std::string(body), "admin",
                                   {{"Content-Type", std::string(content)}});
  if (answer.status >= 500 && answer.status != 501 && answer.status != 504) std::abort();
  if (answer.status >= 400 && method != "HEAD" && answer.message().empty() && answer.text.empty())
    std::abort();
  return 0;
}
