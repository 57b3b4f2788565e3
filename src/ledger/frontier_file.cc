#include "internal/frontier_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "internal/entry_scan.h"

namespace neap::ledger::internal {
namespace {

// With blanks, which no origin has: its signature is never one of a checkpoint.
constexpr std::string_view kTitle = "neap ledger frontier 1";
constexpr std::size_t kDigestBytes = 32;

std::unexpected<Error> bad(std::string_view what) {
  return fail(Code::kInvalidArgument, "ledger.frontier.bad",
              fmt::format("the frontier file is of no use: {}; the entries are read instead", what));
}

void add_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += char(0x80 | (value & 0x7f));
  out += char(value);
}
Result<std::uint64_t> take_varint(std::string_view& in) {
  std::uint64_t out = 0;
  for (int shift = 0; shift < 63 && !in.empty(); shift += 7) {
    const auto byte = std::uint8_t(in.front());
    in.remove_prefix(1);
    out |= std::uint64_t(byte & 0x7f) << shift;
    if (byte < 0x80) return out;
  }
  return bad("its index does not end");
}

std::string body_of(const Frontier& frontier, std::string_view origin) {
  std::string peaks, index;
  for (const auto& peak : frontier.tree.peaks()) peaks += peak.view();
  std::uint64_t before = 0;
  for (const auto at : frontier.index) add_varint(index, at - std::exchange(before, at));
  return fmt::format("{}\n{}\n{} {} {}\n{}\n{}\n{}\n", kTitle, origin, frontier.tree.size(), frontier.bytes,
                     frontier.last_at, crypto::to_base64(frontier.last_leaf.view()), crypto::to_base64(peaks),
                     crypto::to_base64(index));
}

Result<std::string_view> take_line(std::string_view& text) {
  const auto end = text.find('\n');
  if (end == std::string_view::npos) return bad("it ends within a line");
  const auto line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}
Result<std::uint64_t> take_number(std::string_view& line) {
  std::uint64_t out = 0;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), out);
  if (error != std::errc()) return bad("a number is missing");
  line.remove_prefix(std::size_t(end - line.data()));
  if (line.starts_with(' ')) line.remove_prefix(1);
  return out;
}
Result<std::vector<Digest>> take_digests(std::string_view& text, std::size_t count) {
  NEAP_TRY(const auto line, take_line(text));
  NEAP_TRY(const auto bytes, crypto::from_base64(line));
  if (bytes.size() != count * kDigestBytes) return bad("it has too few or too many hashes");
  std::vector<Digest> out;
  for (std::size_t at = 0; at < bytes.size(); at += kDigestBytes) {
    crypto::Sha256Bytes raw;
    std::copy_n(bytes.begin() + std::ptrdiff_t(at), kDigestBytes, raw.begin());
    out.emplace_back(raw);
  }
  return out;
}
Result<std::vector<std::uint64_t>> take_index(std::string_view& text, std::uint64_t size) {
  NEAP_TRY(const auto line, take_line(text));
  NEAP_TRY(const auto bytes, crypto::from_base64(line));
  std::vector<std::uint64_t> out;
  std::uint64_t at = 0;
  for (std::string_view rest = bytes; !rest.empty();) {
    NEAP_TRY(const auto step, take_varint(rest));
    out.push_back(at += step);
  }
  if (out.size() != (size + kIndexStep - 1) / kIndexStep) return bad("its index is not of its size");
  return out;
}

}  // namespace

std::string encode_frontier(const Frontier& frontier, std::string_view origin,
                            const crypto::PrivateKey& key) {
  auto text = body_of(frontier, origin);
  const auto signature = key.sign(text);
  return text + crypto::to_base64(signature) + "\n";
}

Result<Frontier> decode_frontier(std::string_view text, std::string_view origin,
                                 const crypto::PublicKey& key) {
  // The signature first: whatever else is in the file is then what some ledger of this key had said.
  if (!text.ends_with('\n')) return bad("it has no end");
  const auto signed_bytes = text.rfind('\n', text.size() - 2);
  if (signed_bytes == std::string_view::npos) return bad("it has no signature");
  const auto body = text.substr(0, signed_bytes + 1);
  const auto signature = crypto::from_base64(text.substr(body.size(), text.size() - body.size() - 1));
  if (!signature || key.kind() != crypto::KeyKind::kEd25519 || !key.verify(body, *signature))
    return bad("its signature does not verify");
  auto rest = body;
  NEAP_TRY(const auto title, take_line(rest));
  NEAP_TRY(const auto name, take_line(rest));
  if (title != kTitle || name != origin) return bad("it belongs to another ledger");
  NEAP_TRY(auto numbers, take_line(rest));
  Frontier out;
  NEAP_TRY(const auto size, take_number(numbers));
  NEAP_TRY(out.bytes, take_number(numbers));
  NEAP_TRY(out.last_at, take_number(numbers));
  if (size == 0 || out.last_at >= out.bytes) return bad("its numbers do not fit");
  NEAP_TRY(const auto last, take_digests(rest, 1));
  out.last_leaf = last.front();
  NEAP_TRY(auto peaks, take_digests(rest, std::size_t(std::popcount(size))));
  out.tree = MerkleFrontier(size, std::move(peaks));
  NEAP_TRY(out.index, take_index(rest, size));
  return out;
}

}  // namespace neap::ledger::internal
