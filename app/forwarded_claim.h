// What one server says to another about a request that it hands over: whose it is, signed with the key that
// all servers of an installation hold.
//
// 1. The signed text begins with a prefix of its own (kPrefix): nothing else that the key signs can be taken
//    for a claim, nor a claim for anything else.
// 2. A claim is for one method and target at one server, and is taken once. It is for one life of that
// server:
//    one that has started anew knows no used claims of before, and takes none. Its own start would not tell
//    them apart, as the clocks of two servers differ.
// 3. The clocks of two servers may differ by kSkewMax; beyond that the refusal says so.
// Belongs to one executor.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "neap/auth/auth.h"
#include "neap/base/time.h"
#include "neap/crypto/sign.h"

namespace neap::app {

struct ForwardedClaim {
  auth::Identity who;
  std::string method, target;
  std::string to;     // HOST:PORT of the server it is for
  std::string life;   // which that server was given when it started
  std::string nonce;  // no other claim has it
  WallTime at{};
};

// The value of the header Neap-Forwarded.
std::string sign_forwarded(const crypto::PrivateKey& key, const ForwardedClaim& claim);

class ForwardedClaimDesk {
 public:
  static constexpr Duration kSkewMax = std::chrono::minutes(2);
  static constexpr std::size_t kNoncesMax = 100'000;

  explicit ForwardedClaimDesk(crypto::PublicKey key) : key_(std::move(key)) {}
  struct Own {
    std::string_view address, life;
  };
  // Who the request is from. kUnauthenticated: server.forwarded (not signed by this installation, or for
  // another request or server), server.forwarded.clock, server.forwarded.again; kUnavailable
  // "server.forwarded.restarted" (signed for an earlier life of this server); kResourceExhausted
  // "server.forwarded.busy".
  Result<auth::Identity> take(std::string_view header, std::string_view method, std::string_view target,
                              Own own, WallTime now);

 private:
  void forget_old(WallTime now);

  crypto::PublicKey key_;
  std::map<std::string, WallTime, std::less<>> seen_;  // by nonce, until when a claim of it would be taken
  std::multimap<WallTime, std::string> order_;
};

}  // namespace neap::app
