// Gateway: the Open Inference Protocol (V2, REST) of one node over HTTP.
//
//   GET  /v2                                         server metadata
//   GET  /v2/health/live, /v2/health/ready           200, or 503 while a model is not ready
//   GET  /v2/models/M[/versions/V]                   metadata
//   GET  /v2/models/M[/versions/V]/ready             200 or 503
//   GET  /v2/models/M[/versions/V]/stats             statistics extension (subset)
//   POST /v2/models/M[/versions/V]/infer             inference, through the Pipeline
//   POST /v2/repository/index                        models and their versions
//
// Errors are {"error": sentence}. Executor's thread only; stop() before destruction.
#pragma once

#include <string>

#include "neap/base/task_group.h"
#include "neap/gateway/pipeline.h"
#include "neap/io/http.h"

namespace neap::gateway {

class Gateway {
 public:
  struct Options {
    Pipeline::Options pipeline;
    std::string version = "0.1.0";
    // Of all requests being served; the next is told to come back. One without Content-Length counts as the
    // largest allowed.
    std::uint64_t body_bytes_in_flight_max = 512u << 20;
  };
  Gateway(Pipeline::Dependencies dependencies, Options options);
  ~Gateway();

  // The handler for an HttpServer; the gateway must outlive the server.
  io::HttpHandler handler();
  Task<void> serve(io::HttpExchange& exchange);
  Pipeline& pipeline() { return pipeline_; }
  const Pipeline& pipeline() const { return pipeline_; }
  // Ends running shadows.
  Task<void> stop();
  void abandon();

 private:
  Task<void> serve_infer(io::HttpExchange& exchange, std::string model, std::string version);
  io::HttpResponse answer_get(std::string_view model, std::string_view version, std::string_view what) const;
  io::HttpResponse server_metadata() const;
  io::HttpResponse health(bool ready) const;
  io::HttpResponse statistics(std::string_view model, std::string_view version) const;
  io::HttpResponse repository_index() const;

  inference::ModelService& models_;
  Options options_;
  Pipeline pipeline_;
  TaskGroup shadows_;
  std::uint64_t body_bytes_in_flight_ = 0;
};

}  // namespace neap::gateway
