#include "internal/entry_line.h"

#include <fmt/format.h>

#include <charconv>

namespace neap::ledger::internal {
namespace {

constexpr std::string_view kHashKey = ",\"hash\":\"";
constexpr std::size_t kHashBytes = kHashKey.size() + 64 + 2;

std::unexpected<Error> bad(const char* what) { return fail(Code::kDataLoss, "ledger.entry.bad", what); }

bool take(std::string_view& text, std::string_view expected) {
  if (!text.starts_with(expected)) return false;
  text.remove_prefix(expected.size());
  return true;
}
bool take_number(std::string_view& text, std::uint64_t& out) {
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), out);
  if (parsed.ec != std::errc()) return false;
  text.remove_prefix(std::size_t(parsed.ptr - text.data()));
  return true;
}

}  // namespace

EncodedEntry encode_entry(std::uint64_t sequence, std::uint64_t batch, WallTime time, std::string_view body) {
  EncodedEntry out;
  out.line = fmt::format("{{\"seq\":{},\"batch\":{},\"time\":\"{}\",\"body\":{}", sequence, batch,
                         format_rfc3339(time, 6), body);
  out.leaf = leaf_hash(out.line);
  out.line += kHashKey;
  out.line += out.leaf.hex();
  out.line += "\"}\n";
  return out;
}

Result<EntryLine> decode_entry(std::string_view line) {
  if (line.size() < kHashBytes || !line.ends_with("\"}")) return bad("it has no end");
  const auto content = line.substr(0, line.size() - kHashBytes);
  auto tail = line.substr(content.size());
  if (!take(tail, kHashKey)) return bad("it has no hash");
  EntryLine out;
  out.leaf = leaf_hash(content);
  if (tail.substr(0, 64) != out.leaf.hex()) return bad("its content does not match its hash");
  auto rest = content;
  if (!take(rest, "{\"seq\":") || !take_number(rest, out.sequence) || !take(rest, ",\"batch\":") ||
      !take_number(rest, out.batch) || !take(rest, ",\"time\":\""))
    return bad("its head is not readable");
  const auto time_end = rest.find('"');
  if (time_end == std::string_view::npos) return bad("its head is not readable");
  const auto time = parse_rfc3339(rest.substr(0, time_end));
  rest.remove_prefix(time_end);
  if (!time || !take(rest, "\",\"body\":")) return bad("its head is not readable");
  out.time = *time;
  out.body = rest;
  return out;
}

}  // namespace neap::ledger::internal
