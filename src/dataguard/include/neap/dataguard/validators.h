// Checksum and structure validators of identifiers. Pure, allocation-free, thread-safe.
//
// Each takes the compact form (no separators) unless its comment says otherwise and answers whether the
// value is well-formed and its check digit agrees. Sources: GB 11643-1999 and ISO 7064 MOD 11-2 (resident
// id), GB 32100-2015 (USCC), ISO/IEC 7812-1 (Luhn), ISO 13616 and ISO 7064 MOD 97-10 (IBAN), US SSA rules
// (SSN), RFC 4291 and RFC 5952 (IPv6 text).
#pragma once

#include <string_view>

namespace neap::dataguard {

bool is_luhn(std::string_view digits);
// Check characters only: digits, the last may be X.
bool is_mod_11_2(std::string_view value);
// Letters count 10..35.
bool is_mod_97_10(std::string_view value);

// 18 characters: region of a province, a calendar date (any year), MOD 11-2.
bool is_cn_resident_id(std::string_view value);
// The same, and born between 1900 and 2099: what a scanner accepts.
bool is_plausible_cn_resident_id(std::string_view value);
// The 15-digit form before 1999: region and date, no check digit.
bool is_cn_resident_id_15(std::string_view value);
// Unified social credit code: 18 of the 31-character alphabet, upper case.
bool is_cn_uscc(std::string_view value);
// 11 digits of a Chinese mobile number segment.
bool is_cn_mobile(std::string_view digits);
// Payment card: Luhn plus a length that the issuer range uses.
bool is_bank_card(std::string_view digits);
// Either case; length of the country and MOD 97-10.
bool is_iban(std::string_view value);
// Nine digits by area, group and serial rules; the numbers printed in advertisements do not count.
bool is_us_ssn(std::string_view digits);
bool is_ipv4(std::string_view text);
// Without zone and prefix length.
bool is_ipv6(std::string_view text);

}  // namespace neap::dataguard
