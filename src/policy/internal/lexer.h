// Tokens of a CEL expression, with the sugar of policy documents.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/base/result.h"
#include "neap/policy/cel.h"

namespace neap::policy {

enum class TokenKind : std::uint8_t { kEnd, kName, kQuotedName, kLiteral, kIntMagnitude, kPunct };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::size_t position = 0;
  // Spelling of names and punctuation ("&&", "in", ...).
  std::string_view text;
  // kLiteral: the value. kIntMagnitude: an int literal as uint, its sign still to come.
  Value value;
};

Result<std::vector<Token>> tokenize(std::string_view text);

}  // namespace neap::policy
