#include "neap/io/json_reply.h"

namespace neap::io {

Task<void> reply_json(HttpExchange& exchange, std::function<Task<Result<Json>>(Json)> act,
                      std::uint64_t body_bytes_max) {
  Result<Json> result = Json(JsonObject{});
  auto text = co_await exchange.body().read_all(exchange.context(), body_bytes_max);
  if (!text)
    result = fail(std::move(text).error());
  else if (!text->empty())
    result = parse_json(*text);
  if (result) result = co_await act(*std::move(result));
  HttpResponse response;
  if (result) {
    response.headers.set("Content-Type", "application/json");
    response.body = to_text(*result);
  } else {
    response = json_error(result.error());
  }
  (void)co_await exchange.reply(std::move(response));
}

}  // namespace neap::io
