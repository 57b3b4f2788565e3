// A program whose input and output are in the hands of the caller: through pipes, or through a terminal of
// its own (a pseudoterminal, pty(7)).
//
// Reading an output gives 0 once every process that holds it is gone, which may be later than the end of the
// program that was started. Belongs to the runtime's executor.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/io/runtime.h"

namespace neap::io {

struct AttachOptions {
  bool input = false;     // false: the program reads /dev/null, or a terminal nobody types at
  bool terminal = false;  // input, output and errors are one terminal; there are no separate errors
};

struct AttachedProcess {
  std::shared_ptr<Process> process;
  std::unique_ptr<Stream> input;  // null unless asked for; shutdown_write() is the end of input (no effect on
                                  // a terminal, where the user types it)
  std::unique_ptr<Stream> output;
  std::unique_ptr<Stream> errors;  // null with a terminal
  // Tells the programs how large the terminal is now; kFailedPrecondition without one.
  std::function<Status(std::uint16_t columns, std::uint16_t rows)> resize;
};

// `spec.stdout_path` and `spec.stderr_path` are not used, and the program always leads a session.
// kUnimplemented on a simulated runtime, whose programs have no descriptors.
Result<AttachedProcess> start_attached(Runtime& runtime, const ProcessSpec& spec,
                                       const AttachOptions& options);

// The input of a program that outlives this one: a pipe with a name (fifo(7)), which the program itself holds
// open. So it waits for whoever writes next, never reads an end, and 64 KiB are kept for it at most.
//
// Replaces what lies at `path`; only the owner may open it.
Status make_input_pipe(const std::string& path);
// `spec` with that pipe as its input. On a simulated runtime, whose programs read nothing, it starts without.
Result<std::unique_ptr<Process>> start_with_input_pipe(Runtime& runtime, const ProcessSpec& spec,
                                                       const std::string& path);
// To write to: write_all() waits while the pipe is full; pieces of up to 4096 bytes are not mixed with those
// of others who write. kNotFound where there is no pipe; kFailedPrecondition "process.input.closed" where no
// program reads it any more.
Result<std::unique_ptr<Stream>> open_input_pipe(Runtime& runtime, const std::string& path);

}  // namespace neap::io
