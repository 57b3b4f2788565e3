// An HttpExchange that counts the body bytes a handler sends through it, and changes nothing else.
#pragma once

#include "neap/io/http.h"

namespace neap::app {

class CountingExchange final : public io::HttpExchange {
 public:
  explicit CountingExchange(io::HttpExchange& inner) : inner_(inner) {}
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  int status() const { return status_; }

  const io::HttpRequest& request() const override { return inner_.request(); }
  io::BodyReader& body() override { return inner_.body(); }
  CallContext context() const override { return inner_.context(); }
  const io::PeerCertificate* peer_certificate() const override { return inner_.peer_certificate(); }
  io::Endpoint peer() const override { return inner_.peer(); }
  Task<Status> reply(io::HttpResponse response) override {
    note(response);
    return inner_.reply(std::move(response));
  }
  Task<Status> start(io::HttpResponse response) override {
    note(response);
    return inner_.start(std::move(response));
  }
  Task<Status> write(std::string_view piece) override {
    bytes_sent_ += piece.size();
    return inner_.write(piece);
  }
  Task<Status> finish() override { return inner_.finish(); }
  bool has_started() const override { return inner_.has_started(); }
  Task<Result<std::unique_ptr<io::Stream>>> upgrade(io::Headers headers) override {
    return inner_.upgrade(std::move(headers));
  }

 private:
  void note(const io::HttpResponse& response) {
    status_ = response.status;
    if (inner_.request().method != "HEAD") bytes_sent_ += response.body.size();
  }
  io::HttpExchange& inner_;
  std::uint64_t bytes_sent_ = 0;
  int status_ = 0;
};

}  // namespace neap::app
