// The command line itself: CLI11 turns the words into options, and one function carries them out.
#include "neap/cli/command.h"

#include <CLI/CLI.hpp>
#include <sstream>

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "internal/commands.h"
#include "internal/output.h"
#include "internal/simulate.h"

namespace neap::cli {
namespace {

using Run = std::function<Task<Result<int>>(Session&)>;

// What the words said. Options are bound to members, so the object must not move while CLI11 parses.
struct Line {
  Globals globals;
  ApplyOptions apply;
  LaunchOptions launch;
  GetOptions get;
  DescribeOptions describe;
  DeleteOptions remove;
  WaitOptions wait;
  ExplainOptions explain;
  PlanOptions plan;
  CostOptions cost;
  AuditOptions audit;
  TopOptions top;
  LogsOptions logs;
  JoinTokenOptions join_token;
  PlainOptions plain;
  LoginOptions login;
  CredentialOptions credential;
  VersionOptions version;
  PullOptions pull;
  PolicyEvalOptions policy_eval;
  std::vector<std::unique_ptr<SimulateCommand>> simulate = make_simulate_commands();

  Run run;
  bool needs_server = true;
};

CLI::App* add_command(CLI::App& parent, const char* name, const char* what, Line& line, Run run,
                      bool needs_server = true) {
  auto* command = parent.add_subcommand(name, what);
  command->fallthrough();
  command->callback([&line, run = std::move(run), needs_server] {
    line.run = run;
    line.needs_server = needs_server;
  });
  return command;
}

void add_output(CLI::App* command, std::string& output, std::vector<std::string> formats = {"json", "yaml"}) {
  command->add_option("-o,--output", output, "Format of the answer")
      ->check(CLI::IsMember(std::move(formats)));
}
void add_dry_run(CLI::App* command, std::string& dry_run) {
  command->add_option("--dry-run", dry_run, "server: let the server check everything and store nothing")
      ->check(CLI::IsMember(std::vector<std::string>{"none", "server"}));
}

void add_object_commands(CLI::App& app, Line& line) {
  auto* apply = add_command(app, "apply", "Create or change objects from files", line,
                            [&line](Session& session) { return run_apply(session, line.apply); });
  apply
      ->add_option("-f,--filename", line.apply.files,
                   "YAML or JSON file, folder of them, or - for standard input")
      ->required()
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_dry_run(apply, line.apply.dry_run);
  add_output(apply, line.apply.output, {"json", "yaml", "name"});
  apply->add_flag("!--no-validate", line.apply.validates, "Leave unknown fields to the server");

  auto* launch = add_command(app, "launch", "Start a SkyPilot task as a job of ours", line,
                             [&line](Session& session) { return run_launch(session, line.launch); });
  launch->add_option("file", line.launch.file, "Task YAML")->required();
  launch->add_option("-c,--name", line.launch.name, "Name of the job (else the task's)");
  launch->add_option("--env", line.launch.variables, "NAME=VALUE; wins over the task's envs")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  launch->add_option("--num-nodes", line.launch.nodes, "In place of the task's")->check(CLI::PositiveNumber);
  launch->add_flag("--dryrun,--dry-run", line.launch.is_dry_run,
                   "Show places, prices and the job; start nothing");
  launch->add_flag("-y,--yes", line.launch.is_agreed, "Do not ask");
  add_output(launch, line.launch.output);

  auto* get = add_command(app, "get", "List objects", line,
                          [&line](Session& session) { return run_get(session, line.get); });
  get->add_option("what", line.get.words, "KIND[,KIND], KIND NAME... or KIND/NAME...")->required();
  add_output(get, line.get.output, {"json", "yaml", "wide", "name"});
  get->add_flag("-w,--watch", line.get.watches, "Go on and print what changes");
  get->add_option("-l,--selector", line.get.label_selector, "Labels, like team=vision,stage!=test");
  get->add_option("--field-selector", line.get.field_selector, "Fields, like metadata.name=x");
  get->add_flag("-A,--all-namespaces", line.get.all_namespaces, "Of every namespace");
  get->add_flag("--no-headers", line.get.no_headers, "Rows only");

  auto* describe = add_command(app, "describe", "Show objects in full, with their events", line,
                               [&line](Session& session) { return run_describe(session, line.describe); });
  describe->add_option("what", line.describe.words, "KIND, KIND NAME... or KIND/NAME...")->required();

  auto* remove = add_command(app, "delete", "Delete objects", line,
                             [&line](Session& session) { return run_delete(session, line.remove); });
  remove->add_option("what", line.remove.words, "KIND NAME... or KIND/NAME...");
  remove->add_option("-f,--filename", line.remove.files, "Delete what these files describe")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  remove->add_option("-l,--selector", line.remove.label_selector, "Delete those with these labels");
  remove->add_flag("--all", line.remove.all, "Delete all of the kind in the namespace");
  remove->add_flag("--ignore-not-found", line.remove.ignore_not_found, "Absent objects are no failure");
  add_dry_run(remove, line.remove.dry_run);
  add_output(remove, line.remove.output, {"name"});

  auto* wait = add_command(app, "wait", "Wait for a phase, a condition or a deletion", line,
                           [&line](Session& session) { return run_wait(session, line.wait); });
  wait->add_option("what", line.wait.words, "KIND NAME... or KIND/NAME...")->required();
  wait->add_option("--for", line.wait.condition, "phase=Complete, condition=Ready[=True] or delete")
      ->required();
  wait->add_option("--timeout", line.wait.timeout, "How long, like 30s or 10m")->capture_default_str();
}

void add_answer_commands(CLI::App& app, Line& line) {
  auto* explain =
      add_command(app, "explain", "Why an object is where it is (KIND/NAME), or the fields of a KIND", line,
                  [&line](Session& session) { return run_explain(session, line.explain); });
  explain->add_option("what", line.explain.word,
                      "KIND/NAME, KIND or KIND.field.field; nothing lists the kinds");
  add_output(explain, line.explain.output);

  auto* plan = add_command(app, "plan", "Where documents would run and what they would cost, beside what-ifs",
                           line, [&line](Session& session) { return run_plan(session, line.plan); });
  auto* documents = plan->add_option("-f,--filename", line.plan.files,
                                     "YAML or JSON file with a TrainingJob or InferenceService")
                        ->expected(1)
                        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  auto* repack = plan->add_flag("--repack", line.plan.repack,
                                "Which running jobs could move so that a waiting one has room; nothing moves")
                     ->excludes(documents);
  plan->add_option("job", line.plan.job, "With --repack: the waiting job; else all of the project")
      ->needs(repack);
  plan->add_option("--duration", line.plan.duration,
                   "How long it runs, like 8h (else its own expectedDuration, else 1h)");
  add_output(plan, line.plan.output);

  auto* cost = add_command(app, "cost", "The bill, and what it would have been elsewhere", line,
                           [&line](Session& session) { return run_cost(session, line.cost); });
  cost->add_option("--project", line.cost.project, "Of one project only");
  cost->add_option("--from", line.cost.from, "With -o focus: metered at or after, like 2026-11-01T00:00:00Z");
  cost->add_option("--to", line.cost.to, "With -o focus: metered before");
  add_output(cost, line.cost.output, {"json", "yaml", "focus"});

  auto* audit =
      add_command(app, "audit", "Border crossings and refusals; fails where the log does not verify", line,
                  [&line](Session& session) { return run_audit(session, line.audit); });
  audit->add_option("--type", line.audit.type, "Of one type only")
      ->check(CLI::IsMember(std::vector<std::string>{
          "crossing", "refusal", "declassification", "api", "api-refusal", "node-join", "join-refusal",
          "certificate-renewal", "renewal-refusal", "shipment-refusal", "secrets-key-rotation"}));
  audit->add_flag("--verify", line.audit.verify_only, "Only say whether the log verifies");
  add_output(audit, line.audit.output, {"json", "yaml", "k8s"});

  auto* top = add_command(app, "top", "What is held of nodes or sites", line,
                          [&line](Session& session) { return run_top(session, line.top); });
  top->add_option("what", line.top.what, "nodes or sites")
      ->required()
      ->check(CLI::IsMember(std::vector<std::string>{"nodes", "node", "sites", "site"}));
  add_output(top, line.top.output);

  auto* logs = add_command(app, "logs", "What programs wrote", line,
                           [&line](Session& session) { return run_logs(session, line.logs); });
  logs->add_option("what", line.logs.word, "ALLOCATION, or KIND/NAME for all allocations of it")->required();
  logs->add_option("--tail", line.logs.tail, "Last lines only")->check(CLI::PositiveNumber);
  logs->add_flag("-f,--follow", line.logs.follow, "Go on until the programs have ended");
}

void add_server_commands(CLI::App& app, Line& line) {
  auto* version = add_command(
      app, "version", "Versions of this program and of the server", line,
      [&line](Session& session) { return run_version(session, line.version); }, false);
  version->add_flag("--client", line.version.client_only, "Of this program only");
  add_output(version, line.version.output);

  auto* check = add_command(app, "check", "Is the server reachable, ready, and of one time with us?", line,
                            [&line](Session& session) { return run_check(session, line.plain); });
  add_output(check, line.plain.output);

  auto* token = app.add_subcommand("token", "Tokens for machines that join");
  token->require_subcommand(1);
  token->fallthrough();
  auto* join =
      add_command(*token, "create-join", "A token with which one node may join", line,
                  [&line](Session& session) { return run_create_join_token(session, line.join_token); });
  join->add_option("--node", line.join_token.node, "Name of the node")->required();
  join->add_option("--site", line.join_token.site, "Site it stands in")->required();
  join->add_option("--capacity-type", line.join_token.capacity_type, "Kind of capacity")
      ->check(CLI::IsMember(std::vector<std::string>{"owned", "reserved", "on-demand", "spot"}))
      ->capture_default_str();
  join->add_option("--ttl", line.join_token.ttl, "How long the token is good, like 1h")
      ->capture_default_str();
  add_output(join, line.join_token.output);

  auto* console = add_command(app, "console", "An address that signs a browser in once", line,
                              [&line](Session& session) { return run_console(session, line.plain); });
  add_output(console, line.plain.output);

  auto* login = add_command(
      app, "login", "Sign in through the server's identity provider", line,
      [&line](Session& session) { return run_login(session, line.login); }, false);
  login->add_flag("--device", line.login.device, "With a code, for machines without a browser");
  login->add_option("--server", line.login.server, "https://HOST:PORT (else the context's)");
  login->add_option("--certificate-authority", line.login.certificate_authority,
                    "PEM file: who signed that server's certificate");
  login->add_option("--listen", line.login.listen, "Where the browser comes back to")->capture_default_str();
  auto* credential = add_command(
      app, "credential", "What `neap login` kept, as kubectl asks for it", line,
      [&line](Session& session) { return run_credential(session, line.credential); }, false);
  credential->add_option("--file", line.credential.file, "File that `neap login` wrote")->required();
  auto* whoami = add_command(app, "whoami", "Who the server takes this for", line,
                             [&line](Session& session) { return run_whoami(session, line.plain); });
  add_output(whoami, line.plain.output);
  auto* secrets = app.add_subcommand("secrets", "The key that Secrets are sealed with");
  secrets->require_subcommand(1);
  secrets->fallthrough();
  auto* rotate = add_command(*secrets, "rotate", "A new key; what is sealed is rewrapped", line,
                             [&line](Session& session) { return run_rotate_secrets(session, line.plain); });
  add_output(rotate, line.plain.output);

  auto* model = app.add_subcommand("model", "Models in the registry");
  model->require_subcommand(1);
  model->fallthrough();
  auto* list = add_command(*model, "list", "Model versions", line,
                           [&line](Session& session) { return run_model_list(session, line.plain); });
  add_output(list, line.plain.output, {"json", "yaml", "wide", "name"});
  auto* pull = add_command(*model, "pull", "Fetch the files of a model version, verified", line,
                           [&line](Session& session) { return run_model_pull(session, line.pull); });
  pull->add_option("reference", line.pull.reference, "REPOSITORY[:TAG] or REPOSITORY@DIGEST")->required();
  pull->add_option("directory", line.pull.directory, "Folder the files go to")->required();

  auto* policy = app.add_subcommand("policy", "Placement rules");
  policy->require_subcommand(1);
  policy->fallthrough();
  auto* eval = add_command(
      *policy, "eval", "Evaluate an expression; needs no server", line,
      [&line](Session& session) { return run_policy_eval(session, line.policy_eval); }, false);
  eval->add_option("--expr", line.policy_eval.expression, "CEL expression")->required();
  eval->add_option("--vars", line.policy_eval.variables_file, "JSON file whose members are the variables");
  eval->add_flag("--json", line.policy_eval.json, "Print one line of JSON, also for an error");
}

void add_simulate_commands(CLI::App& app, Line& line) {
  if (line.simulate.empty()) return;
  auto* simulate =
      app.add_subcommand("simulate", "Recorded load through the code that decides; needs no server");
  simulate->require_subcommand(1);
  simulate->fallthrough();
  for (const auto& command : line.simulate)
    command->add_to(*simulate)->callback([&line, &command = *command] {
      line.run = [&command](Session& session) { return command.run(session); };
      line.needs_server = false;
    });
}

// An exit status, where parsing alone ends the command.
std::optional<int> parse(CLI::App& app, CliContext& context, std::vector<std::string> argv) {
  try {
    std::ranges::reverse(argv);  // CLI11 takes its words from the back
    app.parse(std::move(argv));
    return std::nullopt;
  } catch (const CLI::CallForHelp& help) {
    std::ostringstream out, err;
    app.exit(help, out, err);
    context.out(out.str());
    return 0;
  } catch (const CLI::Error& error) {
    std::string message = error.what();
    while (message.ends_with('.') || message.ends_with('\n')) message.pop_back();
    context.err(fmt::format("error: {}; see `neap --help`\n", printable(message)));
    return 2;
  }
}

}  // namespace

Task<int> run_command(CliContext context, std::vector<std::string> argv) {
  Line line;
  CLI::App app("Neap: one AI platform over private, public and edge sites", "neap");
  app.require_subcommand(1);
  app.add_option("--kubeconfig", line.globals.kubeconfig,
                 "File that names the server (else NEAP_KUBECONFIG, KUBECONFIG, ~/.kube/config)");
  app.add_option("--context", line.globals.context, "Context of that file");
  app.add_option("-n,--namespace", line.globals.namespace_, "Project (else the context's, else default)");
  app.footer(
      "`neap up`, `neap server` and `neap agent` start the processes themselves; `neap backup` and `neap "
      "restore` "
      "copy what a server keeps.");
  add_object_commands(app, line);
  add_answer_commands(app, line);
  add_server_commands(app, line);
  add_simulate_commands(app, line);
  if (const auto status = parse(app, context, std::move(argv))) co_return *status;

  Session session(context, line.globals);
  const bool wants_field_docs =
      app.got_subcommand("explain") && line.explain.word.find('/') == std::string::npos;
  if (wants_field_docs) {
    const auto docs = field_docs(line.explain.word);
    if (docs)
      session.print(*docs);
    else
      session.report(docs.error());
    co_return docs ? 0 : 1;
  }
  if (line.needs_server)
    if (const auto opened = session.open(); !opened) {
      session.report(opened.error());
      co_return 1;
    }
  if (line.needs_server)
    if (const auto renewed = co_await session.renew_login(); !renewed) {
      session.report(renewed.error());
      co_return 1;
    }
  const auto result = co_await line.run(session);
  if (result) co_return *result;
  session.report(result.error());
  co_return result.error().reason == "cli.usage" ? 2 : 1;
}

}  // namespace neap::cli
