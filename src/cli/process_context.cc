// The context of a real process: its streams and variables.
#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

#include "neap/cli/command.h"

namespace neap::cli {
namespace {

void write_to(std::FILE* file, std::string_view text) {
  (void)std::fwrite(text.data(), 1, text.size(), file);
  // Whoever reads `get -w` through a pipe wants each line when it comes.
  (void)std::fflush(file);
}

Result<std::string> read_standard_input(std::size_t bytes_max) {
  std::string out;
  char piece[64 << 10];
  while (const auto n = std::fread(piece, 1, sizeof piece, stdin)) {
    out.append(piece, n);
    if (out.size() > bytes_max)
      return fail(
          Code::kResourceExhausted, "cli.input",
          fmt::format("standard input is larger than the {} bytes accepted; split the documents", bytes_max));
  }
  if (std::ferror(stdin))
    return fail(Code::kUnavailable, "cli.input", "standard input could not be read; name a file with -f");
  return out;
}

std::optional<std::string> read_line() {
  char line[256];
  if (!std::fgets(line, sizeof line, stdin)) return std::nullopt;
  std::string out(line);
  while (!out.empty() && (out.back() == '\n' || out.back() == '\r')) out.pop_back();
  return out;
}

}  // namespace

CliContext make_process_context(io::Runtime& runtime, const char* const* environment) {
  CliContext out{.runtime = runtime,
                 .out = [](std::string_view text) { write_to(stdout, text); },
                 .err = [](std::string_view text) { write_to(stderr, text); },
                 .environment = {},
                 .is_terminal = isatty(STDOUT_FILENO) == 1,
                 .read_input = read_standard_input,
                 .call = {}};
  char program[4096];
  if (const auto n = readlink("/proc/self/exe", program, sizeof program);
      n > 0 && std::size_t(n) < sizeof program)
    out.program.assign(program, std::size_t(n));
  if (isatty(STDIN_FILENO) == 1) out.read_answer = read_line;
  for (; environment && *environment; ++environment) {
    const std::string_view entry = *environment;
    if (const auto equal = entry.find('='); equal != std::string_view::npos)
      out.environment.emplace(entry.substr(0, equal), entry.substr(equal + 1));
  }
  return out;
}

}  // namespace neap::cli
