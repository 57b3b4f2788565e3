#include "certificate_renewal.h"

#include <fmt/format.h>

#include <algorithm>

#include "neap/auth/certificate_authority.h"
#include "neap/base/json.h"

namespace neap::app {
namespace {

// Clocks are set and machines sleep: when to renew is looked at again at least this often.
constexpr Duration kLookAgain = std::chrono::hours(1);
constexpr Duration kAnswerWithin = 20s;

template <class Context>
Status replace_in(std::vector<std::weak_ptr<Context>>& contexts, const AgentIdentity& identity) {
  std::erase_if(contexts, [](const auto& weak) { return weak.expired(); });
  for (const auto& weak : contexts)
    if (const auto context = weak.lock())
      NEAP_TRY_VOID(io::replace_identity(*context, identity.certificate_pem, identity.private_key_pem));
  return ok();
}

std::string how_to_rejoin(const std::string& node) {
  return fmt::format(
      "make a token with `neap token create-join --node {} --site SITE` and start the agent with "
      "--token-file",
      node);
}

}  // namespace

WallTime renewal_time(const crypto::Validity& validity, double draw) {
  const auto life = validity.not_after - validity.not_before;
  return validity.not_before + life * 2 / 3 - Duration(std::int64_t(double((life / 10).count()) * draw));
}

Result<std::shared_ptr<io::TlsClientContext>> NodeCredentials::client_context(std::string server_name) {
  NEAP_TRY(auto made, io::make_tls_client_context({.roots_pem = identity_.ca_pem,
                                                   .certificate_pem = identity_.certificate_pem,
                                                   .private_key_pem = identity_.private_key_pem,
                                                   .server_name = std::move(server_name)}));
  std::erase_if(clients_, [](const auto& weak) { return weak.expired(); });
  clients_.push_back(made);
  return made;
}

Result<std::shared_ptr<io::TlsServerContext>> NodeCredentials::server_context() {
  NEAP_TRY(auto made, io::make_tls_server_context({.certificate_pem = identity_.certificate_pem,
                                                   .private_key_pem = identity_.private_key_pem,
                                                   .client_roots_pem = identity_.ca_pem,
                                                   .require_client_certificate = true}));
  servers_.push_back(made);
  return made;
}

Status NodeCredentials::replace_certificate(std::string certificate_pem) {
  identity_.certificate_pem = std::move(certificate_pem);
  NEAP_TRY_VOID(replace_in(clients_, identity_));
  return replace_in(servers_, identity_);
}

CertificateRenewal::CertificateRenewal(Dependencies deps, std::string directory, std::string node)
    : deps_(std::move(deps)),
      directory_(std::move(directory)),
      node_(std::move(node)),
      tasks_(deps_.runtime.executor()) {}

void CertificateRenewal::start() { tasks_.spawn(keep()); }
Task<void> CertificateRenewal::stop() { co_await tasks_.stop(); }

Result<crypto::Validity> CertificateRenewal::validity() const {
  NEAP_TRY(const auto certificate, crypto::parse_certificate(deps_.credentials.identity().certificate_pem));
  return certificate.validity;
}

Task<Status> CertificateRenewal::renew() {
  const auto& identity = deps_.credentials.identity();
  NEAP_CO_TRY(const auto key, crypto::PrivateKey::from_pem(identity.private_key_pem));
  NEAP_CO_TRY(const auto request_pem, crypto::make_csr(auth::node_subject(node_), key));
  io::HttpRequest ask;
  ask.method = "POST";
  ask.target = "/agent/v1/nodes/" + node_ + "/certificate";
  ask.headers.set("Content-Type", "application/json");
  ask.body = to_text(Json{{"request", request_pem}});
  const auto ctx = tasks_.context().with_deadline(deps_.runtime.executor().now() + kAnswerWithin);
  NEAP_CO_TRY(const auto reply, co_await deps_.server.call(ctx, std::move(ask)));
  if (reply.status != 200)
    co_return fail(code_of_http_status(reply.status), "agent.certificate.refused",
                   fmt::format("the server refused to renew the certificate of {}: {}", node_,
                               reply.body.substr(0, 1000)));
  NEAP_CO_TRY(const auto answer, parse_json(reply.body));
  const std::string pem(get_string(answer, "certificate"));
  NEAP_CO_TRY(const auto certificate, crypto::parse_certificate(pem));
  const auto now = deps_.runtime.clock().wall();
  NEAP_CO_TRY_VOID(crypto::verify_certificate(pem, identity.ca_pem, now));
  if (certificate.public_key_pem != key.public_key().to_pem() ||
      certificate.subject.common_name != auth::node_subject(node_).common_name)
    co_return fail(Code::kDataLoss, "agent.certificate.other",
                   fmt::format("the server answered with a certificate of {}, which is not for this node and "
                               "its key; look at what stands between them",
                               certificate.subject.common_name));
  NEAP_CO_TRY_VOID(deps_.runtime.files().write_file_atomic(directory_ + "/cert.pem", pem));
  NEAP_CO_TRY_VOID(deps_.credentials.replace_certificate(pem));
  deps_.log.info("certificate renewed", {{"node", node_},
                                         {"serial", certificate.serial},
                                         {"until", format_rfc3339(certificate.validity.not_after)}});
  co_return ok();
}

void CertificateRenewal::tell(const Error& error, WallTime not_after, Duration life) {
  const auto left = not_after - deps_.runtime.clock().wall();
  const bool refused = error.reason == "agent.certificate.refused" && error.code != Code::kUnavailable;
  if (left <= Duration{0}) {
    const auto message = fmt::format("the certificate of {} ended at {} and the server takes it no more; {}",
                                     node_, format_rfc3339(not_after), how_to_rejoin(node_));
    deps_.log.error(message, {telemetry::Field(error)});
    deps_.notice("Ended", message);
  } else if (refused || left < life / 6) {
    const auto message = fmt::format("the certificate ends at {} and could not be renewed: {}; after that {}",
                                     format_rfc3339(not_after), error.message, how_to_rejoin(node_));
    deps_.log.error(message, {{"left", format_duration(left)}});
    deps_.notice(refused ? "Refused" : "NotRenewed", message);
  } else {
    deps_.log.warning("the certificate could not be renewed yet", {telemetry::Field(error)});
  }
}

Task<void> CertificateRenewal::renew_until_done() {
  const auto validity = this->validity();
  if (!validity) co_return;
  const Duration life = validity->not_after - validity->not_before;
  Duration pause = std::clamp<Duration>(life / 100, 100ms, 30s);
  const Duration pause_max = std::clamp<Duration>(life / 20, 1s, std::chrono::hours(1));
  for (;;) {
    const auto renewed = co_await renew();
    if (tasks_.context().cancel.is_cancelled()) co_return;
    if (renewed) {
      deps_.notice({}, {});
      co_return;
    }
    tell(renewed.error(), validity->not_after, life);
    const auto jitter =
        Duration(std::int64_t(deps_.runtime.random().below(std::uint64_t(pause.count() / 2))));
    if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(), pause / 2 + jitter)) co_return;
    pause = std::min(pause * 2, pause_max);
  }
}

Task<void> CertificateRenewal::keep() {
  deps_.notice({}, {});
  while (!tasks_.context().cancel.is_cancelled()) {
    const auto present = validity();
    if (!present) {
      deps_.log.error("the node's certificate cannot be read", {telemetry::Field(present.error())});
      co_return;
    }
    const auto at = renewal_time(*present, double(deps_.runtime.random().below(1'000'000)) / 1e6);
    for (auto now = deps_.runtime.clock().wall(); now < at; now = deps_.runtime.clock().wall())
      if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(),
                              std::min<Duration>(at - now, kLookAgain)))
        co_return;
    co_await renew_until_done();
    // A clock that is ahead sees each new certificate near its end: then once in a while, not in a tight
    // loop.
    const Duration life = present->not_after - present->not_before;
    if (!co_await sleep_for(deps_.runtime.executor(), tasks_.context(),
                            std::clamp<Duration>(life / 20, 100ms, 1min)))
      co_return;
  }
}

}  // namespace neap::app
