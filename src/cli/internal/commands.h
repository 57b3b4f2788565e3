// What each command takes and the function that carries it out; command.cc fills the options from the line.
// The int is the exit status where nothing failed: a check that does not hold is not an error.
#pragma once

#include <string>
#include <vector>

#include "internal/session.h"

namespace neap::cli {

struct ApplyOptions {
  std::vector<std::string> files;
  std::string dry_run = "none", output;
  bool validates = true;
};
Task<Result<int>> run_apply(Session& session, ApplyOptions options);

// Puts an archive of code into the registry; nothing is sent where it already is.
Task<Status> push_code(Session& session, std::string ns, std::string digest, std::string bytes);

struct LaunchOptions {
  std::string file, name, output;
  std::vector<std::string> variables;  // NAME=VALUE
  std::int64_t nodes = 0;              // 0: what the task says
  bool is_dry_run = false, is_agreed = false;
};
Task<Result<int>> run_launch(Session& session, LaunchOptions options);

struct GetOptions {
  std::vector<std::string> words;
  std::string output, label_selector, field_selector;
  bool watches = false, all_namespaces = false, no_headers = false;
};
Task<Result<int>> run_get(Session& session, GetOptions options);

struct DescribeOptions {
  std::vector<std::string> words;
};
Task<Result<int>> run_describe(Session& session, DescribeOptions options);

struct DeleteOptions {
  std::vector<std::string> words, files;
  std::string label_selector, dry_run = "none", output;
  bool all = false, ignore_not_found = false;
};
Task<Result<int>> run_delete(Session& session, DeleteOptions options);

struct WaitOptions {
  std::vector<std::string> words;
  std::string condition, timeout = "30s";
};
Task<Result<int>> run_wait(Session& session, WaitOptions options);

struct ExplainOptions {
  std::string word, output;
};
Task<Result<int>> run_explain(Session& session, ExplainOptions options);
// The fields of a kind, "trainingjob.spec.checkpoint"; needs no server.
Result<std::string> field_docs(std::string_view word);

struct PlanOptions {
  std::vector<std::string> files;
  std::string duration, output;
  // Of running work, for `job` or for everything that waits; no files then.
  bool repack = false;
  std::string job;
};
Task<Result<int>> run_plan(Session& session, PlanOptions options);
// With `repack`.
Task<Result<int>> run_repack_plan(Session& session, PlanOptions options);

struct CostOptions {
  std::string project, from, to, output;
};
Task<Result<int>> run_cost(Session& session, CostOptions options);

struct AuditOptions {
  std::string type, output;
  bool verify_only = false;
};
Task<Result<int>> run_audit(Session& session, AuditOptions options);

struct TopOptions {
  std::string what = "nodes", output;
};
Task<Result<int>> run_top(Session& session, TopOptions options);

struct LogsOptions {
  std::string word;
  std::int64_t tail = 0;
  bool follow = false;
};
Task<Result<int>> run_logs(Session& session, LogsOptions options);

struct JoinTokenOptions {
  std::string node, site, capacity_type = "owned", ttl = "1h", output;
};
Task<Result<int>> run_create_join_token(Session& session, JoinTokenOptions options);

struct PlainOptions {
  std::string output;
};
Task<Result<int>> run_console(Session& session, PlainOptions options);
Task<Result<int>> run_check(Session& session, PlainOptions options);
Task<Result<int>> run_model_list(Session& session, PlainOptions options);

Task<Result<int>> run_whoami(Session& session, PlainOptions options);
Task<Result<int>> run_rotate_secrets(Session& session, PlainOptions options);

struct LoginOptions {
  std::string server, certificate_authority;  // empty: what the kubeconfig's context says
  std::string listen = "127.0.0.1:0";         // where the browser comes back to
  bool device = false;
};
Task<Result<int>> run_login(Session& session, LoginOptions options);

struct CredentialOptions {
  std::string file;
};
Task<Result<int>> run_credential(Session& session, CredentialOptions options);

struct VersionOptions {
  std::string output;
  bool client_only = false;
};
Task<Result<int>> run_version(Session& session, VersionOptions options);

struct PullOptions {
  std::string reference, directory;
};
Task<Result<int>> run_model_pull(Session& session, PullOptions options);

struct PolicyEvalOptions {
  std::string expression, variables_file;
  // One line of JSON, for errors too.
  bool json = false;
};
Task<Result<int>> run_policy_eval(Session& session, PolicyEvalOptions options);

}  // namespace neap::cli
