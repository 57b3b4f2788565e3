#include "neap/store/store.h"

#include <fmt/format.h>

#include <unordered_set>

#include "internal/limits.h"

namespace neap::store {

Task<Result<Revision>> Store::put(CallContext ctx, std::string key, std::string value,
                                  std::optional<Revision> expected) {
  std::vector<Op> ops;
  ops.push_back(Op::put(std::move(key), std::move(value), expected));
  return commit(std::move(ctx), std::move(ops));
}
Task<Result<Revision>> Store::remove(CallContext ctx, std::string key, std::optional<Revision> expected) {
  std::vector<Op> ops;
  ops.push_back(Op::remove(std::move(key), expected));
  return commit(std::move(ctx), std::move(ops));
}

Task<Result<ListPage>> list_all(Store& store, CallContext ctx, std::string prefix) {
  ListPage out;
  ListOptions options;
  for (;;) {
    NEAP_CO_TRY(auto page, co_await store.list(ctx, prefix, options));
    std::move(page.items.begin(), page.items.end(), std::back_inserter(out.items));
    out.revision = page.revision;
    if (!page.more) co_return out;
    options.revision = page.revision;
    options.start_after = out.items.back().key;
  }
}

namespace internal {
namespace {
std::string printable(std::string_view key) {
  std::string out(key.substr(0, 120));
  for (auto& c : out)
    if (std::uint8_t(c) < 0x20) c = '?';
  return out;
}
}  // namespace

std::size_t bytes_of(const std::vector<Op>& ops) {
  std::size_t out = 0;
  for (const auto& op : ops) out += op.key.size() + op.value.size();
  return out;
}

Status check_ops(const std::vector<Op>& ops) {
  if (ops.empty() || ops.size() > kCommitOpsMax)
    return fail(Code::kInvalidArgument, "store.commit.size",
                fmt::format("a commit has 1 to {} operations, not {}; split it", kCommitOpsMax, ops.size()));
  std::unordered_set<std::string_view> keys;
  for (const auto& op : ops) {
    if (op.key.empty() || op.key.size() > kKeyBytesMax)
      return fail(Code::kInvalidArgument, "store.key.length",
                  fmt::format("a key has 1 to {} bytes, not {}", kKeyBytesMax, op.key.size()));
    if (op.value.size() > kValueBytesMax)
      return fail(
          Code::kInvalidArgument, "store.value.length",
          fmt::format("the value of \"{}\" has {} bytes, above the limit of {}; keep large content in the "
                      "artifact store",
                      printable(op.key), op.value.size(), kValueBytesMax));
    if (!keys.insert(op.key).second)
      return fail(Code::kInvalidArgument, "store.commit.duplicate",
                  fmt::format("the key \"{}\" appears twice in one commit; name it once", printable(op.key)));
  }
  if (bytes_of(ops) > kCommitBytesMax)
    return fail(Code::kInvalidArgument, "store.commit.size",
                fmt::format("a commit has at most {} bytes; split it", kCommitBytesMax));
  return ok();
}

Status check_expected(const Op& op, Revision actual) {
  const bool exists = actual != Revision{};
  if (op.expected && *op.expected == actual) {
    if (op.kind != Op::Kind::kRemove || exists) return ok();
  } else if (!op.expected && (exists || op.kind != Op::Kind::kRemove)) {
    return ok();
  }
  if (!exists)
    return fail(
        Code::kNotFound, "store.key.absent",
        fmt::format("the key \"{}\" does not exist; it may have been removed meanwhile", printable(op.key)));
  if (op.expected == Revision{})
    return fail(
        Code::kAlreadyExists, "store.key.exists",
        fmt::format("the key \"{}\" exists already, at revision {}", printable(op.key), to_number(actual)));
  return fail(
      Code::kAborted, "store.revision.conflict",
      fmt::format("the key \"{}\" is at revision {}, not {}: somebody changed it meanwhile; read it again "
                  "and retry",
                  printable(op.key), to_number(actual), to_number(*op.expected)));
}

std::string prefix_end(std::string_view prefix) {
  std::string out(prefix);
  while (!out.empty()) {
    if (std::uint8_t(out.back()) != 0xff) {
      out.back() = char(std::uint8_t(out.back()) + 1);
      return out;
    }
    out.pop_back();
  }
  return out;
}

std::unexpected<Error> closed() {
  return fail(Code::kUnavailable, "store.closed", "the store is closed; connect again later");
}
std::unexpected<Error> locked(std::string_view directory) {
  return fail(
      Code::kFailedPrecondition, "store.directory.locked",
      fmt::format("the store in {} is in use by another process; stop that one, or use another directory",
                  directory));
}
std::unexpected<Error> compacted(Revision asked, Revision at) {
  return fail(Code::kOutOfRange, "store.revision.compacted",
              fmt::format("the state of revision {} is gone: the history begins at {}; list the newest state",
                          to_number(asked), to_number(at)));
}
std::unexpected<Error> future(Revision asked, Revision newest) {
  return fail(Code::kUnavailable, "store.revision.future",
              fmt::format("revision {} does not exist yet, the newest is {}; try again later",
                          to_number(asked), to_number(newest)));
}

}  // namespace internal
}  // namespace neap::store
