// Pratt parser: tokens -> nodes, children before parents. Macros are recognised where they are called, so
// that their variables are in scope while the body is parsed. Names and calls are left as written; the
// checker resolves them.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "internal/lexer.h"
#include "internal/node.h"

namespace neap::policy {

class Parser {
 public:
  Parser(ProgramImpl& out, std::vector<Token> tokens, const CompileLimits& limits)
      : out_(out), tokens_(std::move(tokens)), limits_(limits) {}
  Status run();

 private:
  using Index = std::uint32_t;
  struct Scope {
    std::string name;
    Index slot;
  };
  struct Shared {
    Index slot;
    Index expression;
  };

  const Token& here() const { return tokens_[at_]; }
  const Token& ahead(std::size_t n) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  bool at_punct(std::string_view text) const { return is_punct(here(), text); }
  static bool is_punct(const Token& token, std::string_view text) {
    return token.kind == TokenKind::kPunct && token.text == text;
  }
  bool take(std::string_view text);
  Status expect(std::string_view text);
  std::unexpected<Error> refuse_at(std::size_t position, std::string_view what) const;
  std::unexpected<Error> refuse(std::string_view verb, std::string_view hint) const;
  std::unexpected<Error> refuse_depth(std::size_t position) const;

  Result<Index> add(Node node, std::size_t position, std::initializer_list<Index> children = {});
  Result<Index> add_constant(Value value, std::size_t position);
  void set_args(Node& node, const std::vector<Index>& args, const std::vector<bool>& optional = {});
  static Index intern(std::vector<std::string>& names, std::string_view name);

  Result<Index> parse(int level);
  Result<Index> parse_infix(Index left, const struct Infix& infix);
  Result<Index> parse_chain(Index left, const struct Infix& infix);
  Result<Index> parse_unary();
  Result<Index> parse_primary();
  Result<Index> parse_name(bool rooted);
  Result<Index> parse_has(const Token& name);
  Result<std::vector<Index>> parse_args();
  Result<Index> add_call(const Token& name, const std::vector<Index>& args, std::uint8_t flags);
  Result<Index> parse_postfix(Index left);
  Result<Index> parse_member(Index left);
  Result<Index> parse_list();
  Result<Index> parse_map();

  // Macros (cel_macros.cc).
  // True where the call at the '(' ahead is the macro `name`: then `left` becomes its node.
  Result<bool> parse_macro(Index& left, const Token& name);
  Result<Index> parse_comprehension(Index range, const Token& name, Op op, bool two_variables);
  Result<Index> parse_optional_macro(Index target, const Token& name, Op op);
  // `cel.bind`, `cel.block`, `cel.index`, `cel.iterVar`, `cel.accuVar`, with the name token at `cel`.
  Result<bool> parse_cel_macro(Index& out);
  Result<Index> parse_bind(std::size_t position);
  Result<Index> parse_block(std::size_t position);
  Result<Index> parse_block_index(std::size_t position);
  Result<std::string> parse_macro_variable();
  bool at_generated_variable() const;
  std::string take_generated_variable();
  std::size_t count_arguments() const;
  const Scope* find_scope(std::string_view name) const;
  Index open_scope(std::string name);
  void close_scope();

  ProgramImpl& out_;
  std::vector<Token> tokens_;
  const CompileLimits& limits_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Index slots_used_ = 0;
  std::vector<int> height_;
  std::vector<Scope> scopes_;
  std::vector<std::vector<Shared>> blocks_;
};

}  // namespace neap::policy
