// Session: one command's connection and sinks. Lives in run_command's frame, longer than every command.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "neap/api/kind.h"
#include "neap/cli/command.h"
#include "neap/client/kubeconfig.h"
#include "neap/client/resource_client.h"

namespace neap::cli {

struct Globals {
  std::string kubeconfig, context, namespace_;
};

class Session {
 public:
  Session(CliContext& context, Globals globals) : io_(context), globals_(std::move(globals)) {}

  // Reads the kubeconfig; the first request connects.
  Status open();

  // Renews what `neap login` kept, where the kubeconfig names it. Called after open().
  Task<Status> renew_login();
  // The kubeconfig that is there, else the one that would be looked for.
  Result<std::string> kubeconfig_to_write() const;
  const std::string& context() const { return globals_.context; }

  CliContext& io() { return io_; }
  io::Runtime& runtime() { return io_.runtime; }
  const CallContext& call() const { return io_.call; }
  client::HttpResourceClient& client() { return *client_; }
  const client::ClusterAccess& access() const { return access_; }
  const std::string& kubeconfig_path() const { return path_; }
  const std::string& namespace_name() const { return access_.namespace_; }
  bool is_namespace_given() const { return !globals_.namespace_.empty(); }
  WallTime now() { return io_.runtime.clock().wall(); }

  void print(std::string_view text) { io_.out(text); }
  void warn(std::string_view text) { io_.err(text); }
  // The one way an error reaches the user.
  void report(const Error& error);

  // A JSON reply from a path outside the resource API; statuses of 400 and more become errors.
  Task<Result<Json>> fetch(std::string method, std::string target, Json body = {});
  // The body of a GET as it comes; same errors.
  Task<Result<std::string>> fetch_text(std::string target);

 private:
  Task<Result<std::string>> fetch_body(io::HttpRequest request);
  Result<std::string> find_kubeconfig() const;

  CliContext& io_;
  Globals globals_;
  std::string path_;
  client::ClusterAccess access_;
  std::unique_ptr<client::HttpResourceClient> client_;
};

struct Target {
  const api::KindEntry* kind = nullptr;
  std::string name;  // empty: all of the kind
};

// "sites", "site", "deployments.apps".
Result<const api::KindEntry*> get_kind(std::string_view word);
// {"site/a", "link/b"}, {"sites,links"} or {"site", "a", "b"}.
Result<std::vector<Target>> parse_targets(const std::vector<std::string>& words);
Result<Target> parse_target(std::string_view word);
client::ResourcePath path_of(const api::KindEntry& kind, std::string_view ns, std::string name,
                             std::string subresource = {});
// "trainingjob/x"; kinds of other groups as "deployment.apps/x", so that the word can be typed back.
std::string short_name(const api::KindEntry& kind, std::string_view name);
// All pages of a list as one.
Task<Result<Json>> fetch_list(Session& session, client::ResourcePath path, client::ListOptions options);

// An Error of a reply in the shape of a Status, of an OCI registry's errors, or of {"error": ...}.
Error error_of_reply(const io::HttpResponse& reply);

}  // namespace neap::cli
