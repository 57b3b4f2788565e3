// A laptop and a server in simulation: the API is the fake of client/, other paths answer what a test says.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "neap/api/codec.h"
#include "neap/base/task_group.h"
#include "neap/cli/command.h"
#include "neap/client/fake_resource_client.h"
#include "neap/io/http.h"
#include "neap/io/sim_runtime.h"

namespace neap::cli {

struct Outcome {
  int status = -1;
  std::string out, err;
};

struct Seen {
  std::string method, target, body, token, level;
};

class CliLab {
 public:
  CliLab()
      : world_(11),
        laptop_(world_.add_machine("laptop")),
        server_machine_(world_.add_machine("hq")),
        api_(server_machine_.runtime()) {
    auto listener = server_machine_.runtime().network().listen({"hq", 8080, {}});
    io::HttpServerOptions options;
    options.limits.body_bytes_max = 128u << 20;
    server_ = std::make_unique<io::HttpServer>(server_machine_.runtime(), std::move(*listener), options,
                                               [this](io::HttpExchange& x) { return serve(*this, x); });
    server_->start();
    EXPECT_TRUE(files().make_directories("/home/.kube"));
    write("/home/.kube/config", kubeconfig("secret"));
  }
  ~CliLab() { server_->abandon(); }

  static std::string kubeconfig(std::string_view token, std::string_view server = "http://hq:8080") {
    return fmt::format(
        "current-context: lab\n"
        "clusters: [{{name: lab, cluster: {{server: \"{}\"}}}}]\n"
        "users: [{{name: me, user: {{token: {}}}}}]\n"
        "contexts: [{{name: lab, context: {{cluster: lab, user: me, namespace: vision}}}}]\n",
        server, token);
  }

  io::FileSystem& files() { return laptop_.runtime().files(); }
  io::Runtime& runtime() { return laptop_.runtime(); }
  io::SimWorld& world() { return world_; }
  client::FakeResourceClient& api() { return api_; }
  void write(const std::string& path, std::string_view text) {
    const auto slash = path.rfind('/');
    ASSERT_TRUE(files().make_directories(path.substr(0, slash)));
    ASSERT_TRUE(files().write_file_atomic(path, text));
  }
  // Replies to one path, whatever the query.
  void answer(const std::string& path, int status, std::string body) {
    answers_[path] = {.status = status, .headers = {}, .body = std::move(body)};
  }
  std::vector<Seen> seen;
  std::string input;
  std::optional<std::string> answer_to_questions;  // unset: nobody can be asked
  std::map<std::string, std::string> environment{{"HOME", "/home"}};

  Outcome run(std::vector<std::string> argv, Duration patience = 1h) {
    Outcome outcome;
    CliContext context{.runtime = laptop_.runtime(),
                       .out = [&](std::string_view text) { outcome.out += text; },
                       .err = [&](std::string_view text) { outcome.err += text; },
                       .environment = environment,
                       .is_terminal = true,
                       .read_input = [this](std::size_t) { return Result<std::string>(input); },
                       .read_answer = {},
                       .call = {}};
    if (answer_to_questions) context.read_answer = [this] { return answer_to_questions; };
    TaskGroup group(laptop_.runtime().executor());
    context.call = group.context();
    spawn(group, run_command(std::move(context), std::move(argv)), outcome.status);
    world_.run_for(patience, [&] { return group.running() == 0; });
    if (group.running() > 0) {  // `get -w`: interrupted, as from a keyboard
      bool stopped = false;
      TaskGroup stopper(laptop_.runtime().executor());
      stopper.spawn([](TaskGroup& inner, bool& flag) -> Task<void> {
        co_await inner.stop();
        flag = true;
      }(group, stopped));
      world_.run_for(1h, [&] { return stopped && stopper.running() == 0; });
      EXPECT_TRUE(stopped) << "the command did not end when it was cancelled";
    }
    return outcome;
  }
  // A write to the API beside the command, at a simulated time from now.
  void later(Duration when, std::function<Task<void>(client::FakeResourceClient&)> change) {
    auto& executor = server_machine_.runtime().executor();
    executor.post_at(executor.now() + when, [this, change = std::move(change)]() mutable {
      auto group = std::make_shared<TaskGroup>(server_machine_.runtime().executor());
      group->spawn(change(api_));
      changes_.push_back(std::move(group));
    });
  }
  // Puts an object in place, status included.
  void put(std::string_view yaml) {
    auto documents = api::parse_yaml(yaml);
    ASSERT_TRUE(documents) << documents.error().to_string();
    for (auto& object : *documents) {
      bool done = false;
      TaskGroup group(laptop_.runtime().executor());
      group.spawn(put_one(api_, std::move(object), done));
      world_.run_for(1min, [&] { return done && group.running() == 0; });
      ASSERT_TRUE(done);
    }
  }

 private:
  static void spawn(TaskGroup& group, Task<int> task, int& status) {
    group.spawn([](Task<int> inner, int& out) -> Task<void> { out = co_await std::move(inner); }(
                                                  std::move(task), status));
  }
  static Task<void> put_one(client::FakeResourceClient& api, Json object, bool& done) {
    const auto version = get_string(object, "apiVersion");
    const auto slash = version.find('/');
    const auto* kind = api::KindTable::standard().find_kind(
        slash == std::string_view::npos ? "" : version.substr(0, slash),
        slash == std::string_view::npos ? version : version.substr(slash + 1), get_string(object, "kind"));
    EXPECT_NE(kind, nullptr);
    const auto& metadata = object.at("metadata");
    client::ResourcePath path{
        kind->group, kind->version, kind->plural, std::string(get_string(metadata, "namespace")), "", ""};
    auto made = co_await api.create({}, path, object, {});
    EXPECT_TRUE(made) << made.error().to_string();
    path.name = get_string(metadata, "name");
    if (const auto* status = find_path(object, {"status"}); status && made) {
      path.subresource = "status";
      Json next = *made;
      next.as_object()["status"] = *status;
      const auto updated = co_await api.update({}, path, next, {});
      EXPECT_TRUE(updated) << updated.error().to_string();
    }
    done = true;
  }
  static Task<void> serve(CliLab& lab, io::HttpExchange& x) {
    const auto& request = x.request();
    const auto token = std::string(request.headers.get("Authorization"));
    const auto found = lab.answers_.find(request.path);
    const bool is_raw = found != lab.answers_.end() || request.path.starts_with("/v2/");
    Seen seen{
        request.method, request.target, {}, token, std::string(request.headers.get("X-Neap-Data-Level"))};
    if (is_raw) {
      auto body = co_await x.body().read_all(x.context(), 128u << 20);
      if (body) seen.body = std::move(*body);
    }
    lab.seen.push_back(std::move(seen));
    if (token != "Bearer secret") {
      const Error error{Code::kUnauthenticated, "auth.token", "the bearer token is not known", {}};
      (void)co_await x.reply({.status = 401, .headers = {}, .body = to_text(api::status_object(error))});
    } else if (found != lab.answers_.end()) {
      (void)co_await x.reply(found->second);
    } else if (request.path.starts_with("/v2/")) {
      (void)co_await x.reply({.status = request.method == "POST" ? 201 : 404, .headers = {}, .body = {}});
    } else {
      co_await lab.api_.handler()(x);
    }
  }

  io::SimWorld world_;
  io::SimMachine& laptop_;
  io::SimMachine& server_machine_;
  client::FakeResourceClient api_;
  std::unique_ptr<io::HttpServer> server_;
  std::map<std::string, io::HttpResponse> answers_;
  std::vector<std::shared_ptr<TaskGroup>> changes_;
};

}  // namespace neap::cli
