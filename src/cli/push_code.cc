// Archives of code on their way into the registry.
#include <fmt/format.h>

#include "internal/commands.h"
#include "internal/session.h"

namespace neap::cli {
namespace {

constexpr Duration kUploadTimeout = 10min;

}  // namespace

Task<Status> push_code(Session& session, std::string ns, std::string digest, std::string bytes) {
  const auto context = session.call().with_deadline(session.runtime().executor().now() + kUploadTimeout);
  io::HttpRequest head;
  head.method = "HEAD";
  head.target = fmt::format("/v2/{}/code/blobs/{}", io::url_encode(ns), digest);
  NEAP_CO_TRY(const auto known, co_await session.client().raw(context, head));
  if (known.status == 200) co_return ok();
  io::HttpRequest upload;
  upload.method = "POST";
  upload.target =
      fmt::format("/v2/{}/code/blobs/uploads/?digest={}", io::url_encode(ns), io::url_encode(digest));
  upload.headers.set("Content-Type", "application/octet-stream");
  // Code is declared free of data; whoever puts data into it answers for the level.
  upload.headers.set("X-Neap-Data-Level", "L3");
  upload.body = std::move(bytes);
  NEAP_CO_TRY(const auto reply, co_await session.client().raw(context, std::move(upload)));
  if (reply.status >= 400) co_return fail(error_of_reply(reply), "pushing the code archive to the registry");
  if (reply.status != 201)
    co_return fail(
        Code::kDataLoss, "cli.push",
        fmt::format("the registry answered the code archive with HTTP status {} instead of 201; apply again",
                    reply.status));
  co_return ok();
}

}  // namespace neap::cli
