// What happens at each anchor: the neighbourhood is parsed once and every type of that shape is tried.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <vector>

#include "neap/dataguard/scanner.h"

namespace neap::dataguard::internal {

enum ByteClass : std::uint8_t {
  kDigit = 1,
  kAlpha = 2,
  kHex = 4,
  kJoiner = 8,  // may stand between the digit groups of one number
  kMail = 16,   // local part of an address
  kHost = 32,   // domain of an address
};
extern const std::array<std::uint8_t, 256> kByteClass;

class AnchorScan {
 public:
  AnchorScan(std::string_view text, std::uint32_t types, std::vector<Finding>& out)
      : t_(text), types_(types), out_(out) {}

  // A digit run [start, end) whose neighbours are no digits.
  void on_digits(std::size_t start, std::size_t end);
  void on_at(std::size_t at);
  void on_colon(std::size_t colon);

 private:
  static constexpr std::size_t kGroupsMax = 6;
  struct Group {
    std::size_t start;
    std::size_t end;
    char joiner;  // what stands before it: ' ', '-', '.', '/', or ')' and '(' with or without a blank
    std::size_t size() const { return end - start; }
  };
  struct Chain {
    Chain() {}  // leaves the groups unset: this is the hot path
    std::array<Group, kGroupsMax> groups;
    std::size_t count = 0;
  };

  unsigned char at(std::size_t i) const { return i < t_.size() ? static_cast<unsigned char>(t_[i]) : 0; }
  unsigned char before(std::size_t i) const { return i > 0 ? static_cast<unsigned char>(t_[i - 1]) : 0; }
  bool is(std::size_t i, std::uint8_t cls) const { return (kByteClass[at(i)] & cls) != 0; }
  bool is_before(std::size_t i, std::uint8_t cls) const {
    return i > 0 && (kByteClass[before(i)] & cls) != 0;
  }
  bool word_starts(std::size_t i) const { return !is_before(i, kDigit | kAlpha); }
  bool word_ends(std::size_t i) const { return !is(i, kDigit | kAlpha); }

  bool emit(EntityType type, std::size_t start, std::size_t end, float confidence);
  // Any of the lower-case words, ASCII case folded, within `reach` bytes before `offset`, as a whole word.
  bool says_before(std::size_t offset, std::size_t reach,
                   std::initializer_list<std::string_view> words) const;
  bool says_after(std::size_t offset, std::initializer_list<std::string_view> words) const;
  bool phone_context(std::size_t start, std::size_t end);
  bool phone_word_before(std::size_t offset);

  bool single_run(std::size_t start, std::size_t end);
  bool after_letter(std::size_t start, std::size_t end);
  bool before_letter(std::size_t start, std::size_t end);
  bool iban(std::size_t start);
  bool uscc(std::size_t start);
  bool plate(std::size_t start);
  bool passport_or_license(std::size_t token_start, std::size_t token_end);

  Chain chain_from(std::size_t start, std::size_t end) const;
  bool grouped(const Chain& chain);
  bool ip_address(std::size_t start);
  bool social_security(const Chain& chain);
  bool resident_id(const Chain& chain);
  bool card(const Chain& chain);
  bool national_phone(const Chain& chain);
  bool worded_phone(const Chain& chain);
  bool international_phone(std::size_t start, const Chain& chain);
  bool emit_phone(std::size_t start, std::size_t end, float confidence);

  std::string_view t_;
  std::uint32_t types_;
  std::vector<Finding>& out_;
  std::size_t done_ = 0;  // digits before this belong to a finding
  std::size_t colon_done_ = 0;
  std::size_t words_seen_to_ = 0;   // phone_word_before() has read up to here
  std::size_t phone_word_end_ = 0;  // of the last such word
  std::size_t foreign_end_ = 0;     // of the last byte beyond ASCII
};

// The second tier, appended to `out` in no particular order.
void scan_names(std::string_view text, std::vector<Finding>& out);

}  // namespace neap::dataguard::internal
