// Console: serves the embedded web console and signs people in to it.
//
//  1. A one-time code works once and for `code_lifetime`; a session ends after `session_lifetime`. Neither
//     is kept in clear: tables hold SHA-256 of the secret.
//  2. A session speaks with the identity that minted its code, never with more, and cannot mint codes.
//  3. A session counts only for requests that the console's own page can make: another origin's page
//     cannot read with it, write with it, or open a WebSocket with it.
//  4. Tables are bounded: when one is full, the entry that would end first goes.
//
// Runs on the executor of the server; not thread-safe. State is in memory: a restart signs people out.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "neap/auth/auth.h"
#include "neap/base/task.h"
#include "neap/base/time.h"
#include "neap/io/http.h"

namespace neap::app {

// The value of a cookie of the request; empty when there is none of that name.
std::string cookie_of(const io::HttpRequest& request, std::string_view name);

class Console {
 public:
  struct Options {
    // What people's browsers reach, like "https://hq.example:8443"; no slash at the end.
    std::string public_url;
    Duration code_lifetime = 10min;
    Duration session_lifetime = 12h;
    std::size_t codes_max = 64;
    std::size_t sessions_max = 256;
    std::string sign_in_path;  // where the page sends people to sign in; empty: only links sign in
  };
  struct Dependencies {
    const Clock& clock;
    io::Random& random;
  };
  Console(Dependencies dependencies, Options options);

  // The identity behind a console session, for the server's authenticator to ask before anything else;
  // empty when the request carries no valid one. Requests with an Authorization header speak for
  // themselves; what changes something needs X-Neap-CSRF.
  std::optional<auth::Identity> identify(const io::HttpRequest& request) const;

  // Everything under "/console" (pages, login, session, logout). Needs no authorization before it.
  Task<void> serve(io::HttpExchange& exchange, const auth::Identity& who);
  // POST /neap/v1/console-codes: {"url", "expiresAt"}. To be authorized by the caller (administrators).
  Task<void> serve_codes(io::HttpExchange& exchange, const auth::Identity& who);

  // To the page, with the cookie of a new session of `who`.
  io::HttpResponse open_session(auth::Identity who);
  // What every answer below /console carries.
  static void secure_headers(io::Headers& headers);
  // The login URL with a fresh code that stands for `who`.
  std::string mint_login_url(const auth::Identity& who);
  // False when the program was built without the page (NEAP_UI=OFF): a page that says so is served.
  static bool is_built();
  std::size_t open_sessions() const { return sessions_.size(); }

 private:
  struct LoginCode {
    auth::Identity who;
    MonoTime ends;
  };
  struct Session {
    auth::Identity who;
    std::string csrf;
    MonoTime ends;
    WallTime ends_at;
  };
  const Session* find_session(const io::HttpRequest& request) const;
  bool has_csrf(const io::HttpRequest& request, const Session& session) const;
  io::HttpResponse login(const io::HttpRequest& request);
  io::HttpResponse describe_session(const io::HttpRequest& request) const;
  io::HttpResponse logout(const io::HttpRequest& request);
  io::HttpResponse asset(const io::HttpRequest& request) const;

  Dependencies dependencies_;
  Options options_;
  bool is_secure_;
  std::string cookie_name_;
  // Keys: SHA-256 of the secret.
  std::map<std::string, LoginCode, std::less<>> codes_;
  std::map<std::string, Session, std::less<>> sessions_;
};

}  // namespace neap::app
