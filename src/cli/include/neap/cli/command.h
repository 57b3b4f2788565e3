// The command line of a running installation: apply, get, explain, cost and the rest, over the same HTTP API
// that kubectl uses. `up`, `server`, `agent` and `gateway` are not here: app/main.cc knows them and hands
// every other command to run_command.
//
// Threads: everything on the runtime's executor; files are packed and parsed on its workers.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/context.h"
#include "neap/base/task.h"
#include "neap/io/runtime.h"

namespace neap::cli {

struct CliContext {
  io::Runtime& runtime;
  // Standard output and standard error; called with whole lines.
  std::function<void(std::string_view)> out;
  std::function<void(std::string_view)> err;
  // KUBECONFIG, NEAP_KUBECONFIG and HOME are read, nothing else.
  std::map<std::string, std::string> environment;
  // Standard output is a terminal: then text from the server loses its control characters.
  bool is_terminal = false;
  // All of standard input, for `-f -`; unset: refused.
  std::function<Result<std::string>(std::size_t bytes_max)> read_input;
  // One line that a person types; nothing at its end. Unset where standard input is no terminal.
  std::function<std::optional<std::string>()> read_answer = {};
  // Path of this program, for what starts it again (`neap credential` in a kubeconfig).
  std::string program = {};
  // Cancelled on an interrupt: ends `get -w` and `wait`.
  CallContext call;
};

// The streams and variables of this very process; `environment` is a null-ended list of NAME=value.
CliContext make_process_context(io::Runtime& runtime, const char* const* environment);

// `argv` without the program's name: {"get", "sites"}. Returns the exit status: 0; 1 where the command failed
// or a check did not hold (one line `error: what; why; what next` on err); 2 where the command line is wrong.
Task<int> run_command(CliContext context, std::vector<std::string> argv);

}  // namespace neap::cli
