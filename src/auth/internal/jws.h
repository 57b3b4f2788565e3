// A compact JSON Web Signature (RFC 7515, section 7.1) taken apart; nothing of it is verified yet.
#pragma once

#include <string>
#include <string_view>

#include "neap/base/json.h"
#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::auth {

struct Jws {
  Json header, body;         // objects
  std::string signature;     // decoded
  std::string_view covered;  // what the signature is over; a view into the token
};
// kUnauthenticated "auth.jwt.syntax".
Result<Jws> split_jws(std::string_view token, std::size_t bytes_max);
std::unexpected<Error> refuse_token(std::string_view word, std::string message);
// A NumericDate (RFC 7519, section 2), also one with a fraction; `absent` where the claim is none.
WallTime numeric_date(const Json& body, std::string_view claim, WallTime absent);

}  // namespace neap::auth
