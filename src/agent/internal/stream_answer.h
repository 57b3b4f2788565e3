// What the answers of a StreamRelay have in common.
#pragma once

#include <string>

#include "neap/agent/stream_relay.h"
#include "neap/io/runtime.h"

namespace neap::agent {

// One answer under way. All of it outlives the answer.
struct StreamAnswer {
  const StreamRelay::Dependencies& deps;
  const StreamRelay::Options& options;
  const std::string& node;
  const std::string& server_site;
  const StreamAsk& ask;
  io::Stream& stream;
  WorkSubject subject;
  std::string rule;  // that allows it

  Executor& executor() const { return deps.runtime.executor(); }
};

// How long who reads may take to close once there is nothing more to read.
inline constexpr Duration kGoodbye = 5s;

// How often it is asked again whether the data's policies still let the user see or reach the work.
inline constexpr Duration kPolicyCheck = 10s;
// The rule may have gone since the answer began; such a refusal is on record.
Task<Status> check_still_permitted(const StreamAnswer& answer);

// The first line of an answer: 200, or the error.
std::string head_line(const Status& status);
// Answers with the error alone. `ctx` says how long the reader may take to take it.
Task<Status> refuse(CallContext ctx, io::Stream& stream, Error error);

// log_view.cc: the log as it stands, and as it grows where that was asked for.
Task<Status> show_log(CallContext ctx, StreamAnswer& answer);
// command_session.cc: a program beside the work, or the work's own output.
Task<Status> run_command(CallContext ctx, StreamAnswer& answer);
// port_session.cc: bytes to and from a port of the work, or the word that there may be such.
Task<Status> forward_port(CallContext ctx, StreamAnswer& answer);

// Writes a session's beginning down, and its end; a session that could not be put on record does not begin.
class SessionRecord {
 public:
  explicit SessionRecord(StreamAnswer& answer) : answer_(answer), started_(answer.executor().now()) {}
  Task<Status> begin();
  Task<void> end(std::string how, std::uint64_t bytes_in, std::uint64_t bytes_out);

 private:
  Json entry(std::string_view type) const;
  StreamAnswer& answer_;
  MonoTime started_;
};

}  // namespace neap::agent
