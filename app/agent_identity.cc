#include "agent_identity.h"

#include <fmt/format.h>

#include "neap/auth/certificate_authority.h"
#include "neap/auth/tokens.h"
#include "neap/base/json.h"
#include "neap/crypto/x509.h"
#include "neap/io/http.h"

namespace neap::app {
namespace {

Result<AgentIdentity> load(io::Runtime& runtime, const std::string& directory) {
  auto& files = runtime.files();
  AgentIdentity out;
  NEAP_TRY(out.certificate_pem, files.read_file(directory + "/cert.pem"));
  NEAP_TRY(out.private_key_pem, files.read_file(directory + "/key.pem"));
  NEAP_TRY(out.ca_pem, files.read_file(directory + "/ca.pem"));
  NEAP_TRY(out.signing_key_pem, files.read_file(directory + "/signing.pub"));
  NEAP_TRY(out.server_site, files.read_file(directory + "/server-site"));
  return out;
}

Task<Result<Json>> redeem(io::Runtime& runtime, const JoinRequest& request, std::string request_pem) {
  NEAP_CO_TRY(auto text, runtime.files().read_file(request.token_file, 4096));
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  NEAP_CO_TRY(const auto token, auth::JoinToken::parse(text));
  NEAP_CO_TRY(auto tls, io::make_tls_client_context(
                            {.server_name = request.server.host, .pinned_root_sha256 = token.ca_sha256}));
  io::HttpClient http(runtime, request.server, {.tls = tls});
  io::HttpRequest ask;
  ask.method = "POST";
  ask.target = "/neap/v1/join";
  ask.headers.set("Content-Type", "application/json");
  ask.body = to_text(Json{{"token", text},
                          {"node", request.node},
                          {"site", request.site},
                          {"capacityType", request.capacity_type},
                          {"request", request_pem}});
  NEAP_CO_TRY(
      const auto reply,
      co_await http.call(CallContext{}.with_deadline(runtime.executor().now() + 30s), std::move(ask)));
  if (reply.status != 200)
    co_return fail(code_of_http_status(reply.status), "agent.join",
                   fmt::format("the server refused to let {} join: {}", request.node, reply.body));
  co_return parse_json(reply.body);
}

}  // namespace

bool has_good_certificate(io::Runtime& runtime, const std::string& directory) {
  const auto pem = runtime.files().read_file(directory + "/cert.pem");
  if (!pem) return false;
  const auto certificate = crypto::parse_certificate(*pem);
  return certificate && runtime.clock().wall() < certificate->validity.not_after;
}

Task<Result<AgentIdentity>> load_or_join(io::Runtime& runtime, JoinRequest request) {
  auto& files = runtime.files();
  if (has_good_certificate(runtime, request.directory)) co_return load(runtime, request.directory);
  const bool has_joined = files.exists(request.directory + "/cert.pem");
  if (has_joined && (request.token_file.empty() || !files.exists(request.token_file)))
    co_return fail(Code::kUnauthenticated, "agent.certificate.ended",
                   fmt::format("the certificate of {} has ended, and the server knows it no more; give "
                               "--token-file with a new token from `neap token create-join`",
                               request.node));
  if (request.token_file.empty())
    co_return fail(
        Code::kInvalidArgument, "agent.join.token",
        fmt::format("{} has not joined yet; give --token-file with a token from `neap token create-join`",
                    request.node));
  NEAP_CO_TRY_VOID(files.make_directories(request.directory, 0700));
  NEAP_CO_TRY(const auto made, crypto::make_key_and_csr(auth::node_subject(request.node)));
  NEAP_CO_TRY(const auto answer, co_await redeem(runtime, request, made.request_pem));
  NEAP_CO_TRY_VOID(files.write_file_atomic(request.directory + "/key.pem", made.private_key_pem, 0600));
  NEAP_CO_TRY_VOID(files.write_file_atomic(request.directory + "/ca.pem", get_string(answer, "ca")));
  NEAP_CO_TRY_VOID(
      files.write_file_atomic(request.directory + "/signing.pub", get_string(answer, "signingKey")));
  NEAP_CO_TRY_VOID(
      files.write_file_atomic(request.directory + "/server-site", get_string(answer, "serverSite")));
  // Last: its presence means that all of the identity is there.
  NEAP_CO_TRY_VOID(
      files.write_file_atomic(request.directory + "/cert.pem", get_string(answer, "certificate")));
  co_return load(runtime, request.directory);
}

}  // namespace neap::app
