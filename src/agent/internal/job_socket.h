// JobSocket: what a training program sees of the agent: HTTP on a Unix socket (python/neap speaks it).
//
// GET /v1/job; POST /v1/progress, /v1/checkpoint, /v1/outputs, /v1/metrics. Paths that a program names
// must lie in its own folders. Bodies are small JSON documents.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "neap/base/json.h"
#include "neap/io/http.h"

namespace neap::agent {

struct JobCallbacks {
  std::function<Json(std::int64_t rank)> job;
  std::function<void(std::int64_t step, const Json& metrics)> progress;
  std::function<void(std::int64_t step)> first_step;  // first one this run executed
  // Sealed when it returns; made durable in the background.
  std::function<Task<Result<std::string>>(std::string path, std::int64_t step)> checkpoint;
  std::function<Task<Status>(std::string name, std::string path, Json metadata)> output;
  std::function<void(const Json& metrics)> metrics;
};

class JobSocket {
 public:
  JobSocket(io::Runtime& runtime, std::string path, std::string allowed_directory, JobCallbacks callbacks);
  ~JobSocket();
  Status start();
  Task<void> stop();
  const std::string& path() const { return path_; }

 private:
  Task<void> serve(io::HttpExchange& exchange);
  Task<Result<Json>> answer(const io::HttpRequest& request, Json body);
  Result<std::string> checked_path(const Json& body) const;

  io::Runtime& runtime_;
  std::string path_, allowed_;
  JobCallbacks callbacks_;
  std::unique_ptr<io::HttpServer> server_;
};

}  // namespace neap::agent
