#include "node_streams.h"

#include <fmt/format.h>

#include "neap/api/resource.h"
#include "neap/client/typed.h"

namespace neap::app {
namespace {

constexpr std::string_view kNodes = "/agent/v1/nodes/", kStreams = "/streams";
constexpr std::size_t kHeadBytesMax = 16u << 10;
constexpr std::size_t kPieceBytes = 64u << 10;
// A followed log may be silent for long; its node is asked for then.
constexpr Duration kSilence = 30s;

struct StreamPath {
  std::string node, id;  // id is empty for the list
};
std::optional<StreamPath> parse_path(std::string_view path) {
  if (!path.starts_with(kNodes)) return std::nullopt;
  path.remove_prefix(kNodes.size());
  const auto slash = path.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  StreamPath out{.node = std::string(path.substr(0, slash)), .id = {}};
  path.remove_prefix(slash);
  if (!path.starts_with(kStreams)) return std::nullopt;
  path.remove_prefix(kStreams.size());
  if (path.empty()) return out;
  if (path.front() != '/' || path.size() < 2) return std::nullopt;
  out.id = path.substr(1);
  return out;
}

Error refusal(Code code, std::string reason, std::string message) {
  return {.code = code, .reason = std::move(reason), .message = std::move(message), .context = {}};
}

}  // namespace

struct NodeStreams::Wish {
  explicit Wish(Executor& executor) : attached(executor) {}
  Json ask;
  Event attached;
  std::unique_ptr<io::Stream> stream;
};

struct NodeStreams::NodeDesk {
  explicit NodeDesk(Executor& executor) : changed(executor) {}
  Notifier changed;
  std::deque<std::string> waiting;  // ids, in order
  std::map<std::string, std::shared_ptr<Wish>> wishes;
  int polls = 0;
  std::optional<MonoTime> last_seen;

  bool is_present(MonoTime now, Duration grace) const {
    return polls > 0 || (last_seen && now - *last_seen < grace);
  }
};

// Holds a wish's place until it is destroyed, and its connection once there is one.
class NodeStreams::Place {
 public:
  Place(io::Runtime& runtime, std::string node, std::shared_ptr<NodeDesk> desk,
        std::shared_ptr<std::size_t> open, Duration grace)
      : runtime_(runtime),
        node_(std::move(node)),
        desk_(std::move(desk)),
        open_(std::move(open)),
        grace_(grace),
        id_(runtime.random().hex(16)),
        wish_(std::make_shared<Wish>(runtime.executor())) {
    ++*open_;
    desk_->wishes[id_] = wish_;
  }
  ~Place() {
    --*open_;
    desk_->wishes.erase(id_);
    std::erase(desk_->waiting, id_);
    if (wish_->stream) wish_->stream->close();
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  Task<Status> open(CallContext ctx, Json ask, Duration within) {
    wish_->ask = std::move(ask);
    wish_->ask.as_object()["id"] = id_;
    desk_->waiting.push_back(id_);
    desk_->changed.notify_all();
    const auto soon = ctx.with_deadline(runtime_.executor().now() + within);
    if (auto waited = co_await wish_->attached.wait(soon); !waited) {
      NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
      co_return fail(
          Code::kUnavailable, "logs.node.silent",
          fmt::format("node {} was asked and did not answer within {}; see `neap describe node/{}`", node_,
                      format_duration(within), node_));
    }
    co_return co_await read_head(soon);
  }

  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) {
    if (!rest_.empty()) {
      const auto n = std::min(max, rest_.size());
      out.append(rest_, 0, n);
      rest_.erase(0, n);
      co_return n;
    }
    for (;;) {
      const auto until = runtime_.executor().now() + kSilence;
      auto n = co_await wish_->stream->read_some(ctx.with_deadline(until), out, max);
      if (n || n.error().code != Code::kDeadlineExceeded) co_return n;
      // Before the reader's own deadline, which may come sooner each time than the node's silence is long.
      if (!desk_->is_present(runtime_.executor().now(), grace_))
        co_return fail(Code::kUnavailable, "logs.node.lost",
                       fmt::format("node {} went out of reach while it answered", node_));
      NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
    }
  }
  io::Stream& stream() { return *wish_->stream; }

 private:
  Task<Status> read_head(CallContext ctx) {
    std::string text;
    std::size_t end = 0;
    while ((end = text.find('\n')) == std::string::npos) {
      if (text.size() > kHeadBytesMax)
        co_return fail(Code::kInternal, "logs.node.head",
                       fmt::format("node {} answered with no head line", node_));
      NEAP_CO_TRY(const auto n, co_await wish_->stream->read_some(ctx, text, kPieceBytes));
      if (n == 0)
        co_return fail(Code::kUnavailable, "logs.node.lost",
                       fmt::format("node {} ended the connection before it answered", node_));
    }
    NEAP_CO_TRY(const auto head, parse_json(text.substr(0, end)));
    rest_ = text.substr(end + 1);
    const auto status = get_int(head, "status", 500);
    if (status == 200) co_return ok();
    co_return fail(code_of_http_status(int(status)),
                   std::string(get_string(head, "reason", "logs.node.refused")),
                   std::string(get_string(head, "message", "the node refused")));
  }

  io::Runtime& runtime_;
  std::string node_;
  std::shared_ptr<NodeDesk> desk_;
  std::shared_ptr<std::size_t> open_;
  Duration grace_;
  std::string id_, rest_;
  std::shared_ptr<Wish> wish_;
};

class NodeStreams::LogReading final : public apiserver::LogStream {
 public:
  explicit LogReading(std::unique_ptr<Place> place) : place_(std::move(place)) {}
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out) override {
    return place_->read_some(std::move(ctx), out, kPieceBytes);
  }

 private:
  std::unique_ptr<Place> place_;
};

class NodeStreams::Session final : public io::Stream {
 public:
  explicit Session(std::unique_ptr<Place> place) : place_(std::move(place)) {}
  Task<Result<std::size_t>> read_some(CallContext ctx, std::string& out, std::size_t max) override {
    return place_->read_some(std::move(ctx), out, max);
  }
  Task<Status> write_all(CallContext ctx, std::string_view data) override {
    return place_->stream().write_all(std::move(ctx), data);
  }
  Task<Status> shutdown_write() override { return place_->stream().shutdown_write(); }
  void close() override { place_->stream().close(); }
  io::Endpoint peer() const override { return {}; }

 private:
  std::unique_ptr<Place> place_;
};

NodeStreams::NodeStreams(io::Runtime& runtime, client::ResourceClient& client, Options options)
    : runtime_(runtime), client_(client), options_(options) {}
NodeStreams::~NodeStreams() = default;

bool NodeStreams::is_path(std::string_view path) { return parse_path(path).has_value(); }

// A desk is needed while somebody stands at it, and a little longer: nodes come back between two polls.
void NodeStreams::forget_unused_desks() {
  const auto now = runtime_.executor().now();
  if (now < next_sweep_) return;
  next_sweep_ = now + options_.presence_grace;
  std::erase_if(desks_, [&](const auto& entry) {
    return entry.second.use_count() == 1 && !entry.second->is_present(now, options_.presence_grace);
  });
}

std::shared_ptr<NodeStreams::NodeDesk> NodeStreams::desk_of(const std::string& node) {
  forget_unused_desks();
  auto& desk = desks_[node];
  if (!desk) desk = std::make_shared<NodeDesk>(runtime_.executor());
  return desk;
}

Task<void> NodeStreams::serve(io::HttpExchange& exchange, const auth::Identity& who) {
  const auto path = parse_path(exchange.request().path);
  if (!path || who.node != path->node || exchange.request().method != "GET") {
    (void)co_await exchange.reply(io::json_error(refusal(
        Code::kPermissionDenied, "streams.own", "only the agent of a node takes what is asked of it")));
    co_return;
  }
  if (path->id.empty())
    co_await hand_out(exchange, path->node);
  else
    co_await attach(exchange, path->node, path->id);
}

Task<void> NodeStreams::hand_out(io::HttpExchange& exchange, std::string node) {
  const auto desk = desk_of(node);
  struct Presence {
    NodeDesk& desk;
    Executor& executor;
    Presence(NodeDesk& d, Executor& e) : desk(d), executor(e) {
      ++desk.polls;
      desk.changed.notify_all();
    }
    ~Presence() {
      --desk.polls;
      desk.last_seen = executor.now();
    }
  } presence(*desk, runtime_.executor());
  const auto ctx = exchange.context().with_deadline(runtime_.executor().now() + options_.poll);
  while (desk->waiting.empty())
    if (!co_await desk->changed.wait(ctx, desk->changed.generation())) break;
  if (exchange.context().cancel.is_cancelled()) co_return;  // what waits is for its next connection
  JsonArray streams;
  for (const auto& id : std::exchange(desk->waiting, {}))
    if (const auto it = desk->wishes.find(id); it != desk->wishes.end()) streams.push_back(it->second->ask);
  io::HttpResponse response;
  response.headers.set("Content-Type", "application/json");
  response.body = to_text(Json{{"streams", std::move(streams)}});
  (void)co_await exchange.reply(std::move(response));
}

Task<void> NodeStreams::attach(io::HttpExchange& exchange, std::string node, std::string id) {
  const auto desk = desk_of(node);
  const auto it = desk->wishes.find(id);
  if (it == desk->wishes.end() || it->second->attached.is_set()) {
    (void)co_await exchange.reply(
        io::json_error(refusal(Code::kNotFound, "streams.gone", "nobody waits for this any more")));
    co_return;
  }
  const auto wish = it->second;
  io::Headers headers;
  headers.set("Upgrade", "neap-stream");
  auto stream = co_await exchange.upgrade(std::move(headers));
  if (!stream || wish->attached.is_set()) co_return;
  wish->stream = *std::move(stream);
  wish->attached.set();
}

Task<Result<std::string>> NodeStreams::node_of(CallContext ctx, std::string ns, std::string name) {
  auto object = co_await client_.get(ctx, client::TypedClient<api::Allocation>::path(ns, name));
  if (!object) co_return fail(std::move(object).error());
  NEAP_CO_TRY(const auto allocation, api::from_json<api::Allocation>(*object));
  if (allocation.spec.node.empty())
    co_return fail(
        Code::kNotFound, "logs.unplaced",
        fmt::format("allocation {} is not placed on a node, so nothing runs or wrote a log yet", name));
  co_return allocation.spec.node;
}

Task<Status> NodeStreams::wait_for_node(CallContext ctx, std::shared_ptr<NodeDesk> desk, std::string node) {
  const auto end = runtime_.executor().now() + options_.presence_grace;
  while (!desk->is_present(runtime_.executor().now(), options_.presence_grace)) {
    const auto waited = co_await desk->changed.wait(ctx.with_deadline(end), desk->changed.generation());
    if (waited) continue;
    NEAP_CO_TRY_VOID(ctx.check(runtime_.executor().now()));
    co_return fail(Code::kUnavailable, "logs.node.unreachable",
                   fmt::format("node {} is not connected to this server, and only it can answer; see "
                               "`neap describe node/{}` and try again when it is Ready",
                               node, node));
  }
  co_return ok();
}

Task<Result<std::unique_ptr<NodeStreams::Place>>> NodeStreams::ask_node(CallContext ctx, Json ask) {
  NEAP_CO_TRY(const auto node, co_await node_of(ctx, std::string(get_string(ask, "namespace")),
                                                std::string(get_string(ask, "allocation"))));
  const auto desk = desk_of(node);
  NEAP_CO_TRY_VOID(co_await wait_for_node(ctx, desk, node));
  if (*open_ >= options_.streams_max || desk->wishes.size() >= options_.streams_per_node)
    co_return fail(
        Code::kResourceExhausted, "logs.busy",
        fmt::format("{} logs and sessions of node {} and {} in all are open; try again when one has ended",
                    desk->wishes.size(), node, *open_));
  auto place = std::make_unique<Place>(runtime_, node, desk, open_, options_.presence_grace);
  NEAP_CO_TRY_VOID(co_await place->open(ctx, std::move(ask), options_.open_within));
  co_return place;
}

Task<Result<std::unique_ptr<apiserver::LogStream>>> NodeStreams::open_log(CallContext ctx,
                                                                          apiserver::LogQuery query) {
  NEAP_CO_TRY(
      auto place,
      co_await ask_node(
          ctx, Json{{"kind", "log"},
                    {"namespace", query.namespace_},
                    {"allocation", query.allocation},
                    {"user", query.user},
                    {"tailLines", query.tail_lines},
                    {"sinceSeconds", query.since_seconds.value_or(-1)},
                    {"sinceTime", query.since_time ? format_rfc3339(*query.since_time, 3) : std::string()},
                    {"timestamps", query.timestamps},
                    {"follow", query.follow}}));
  co_return std::make_unique<LogReading>(std::move(place));
}

Task<Result<std::unique_ptr<io::Stream>>> NodeStreams::open_session(CallContext ctx,
                                                                    apiserver::SessionQuery query) {
  using Kind = apiserver::SessionQuery::Kind;
  JsonArray command;
  for (auto& word : query.command) command.emplace_back(std::move(word));
  NEAP_CO_TRY(auto place,
              co_await ask_node(ctx, Json{{"kind", query.kind == Kind::kExec     ? "exec"
                                                   : query.kind == Kind::kAttach ? "attach"
                                                                                 : "port-forward"},
                                          {"namespace", query.namespace_},
                                          {"allocation", query.allocation},
                                          {"user", query.user},
                                          {"command", std::move(command)},
                                          {"input", query.input},
                                          {"errors", query.errors},
                                          {"terminal", query.terminal},
                                          {"port", query.port}}));
  co_return std::make_unique<Session>(std::move(place));
}

}  // namespace neap::app
