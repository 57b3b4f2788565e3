#include "internal/registry_reply.h"

#include <charconv>

#include "neap/base/json.h"

namespace neap::artifacts::internal {
namespace {

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return out;
}

struct Mapping {
  std::string_view reason;
  int status;
  std::string_view code;
};
constexpr Mapping kMappings[] = {
    {"artifacts.blob.absent", 404, "BLOB_UNKNOWN"},
    {"artifacts.blob.too_large", 413, "SIZE_INVALID"},
    {"artifacts.upload.unknown", 404, "BLOB_UPLOAD_UNKNOWN"},
    {"artifacts.upload.offset", 416, "BLOB_UPLOAD_INVALID"},
    {"artifacts.upload.busy", 409, "BLOB_UPLOAD_INVALID"},
    {"artifacts.uploads.too_many", 429, "TOOMANYREQUESTS"},
    {"artifacts.digest.mismatch", 400, "DIGEST_INVALID"},
    {"crypto.digest.syntax", 400, "DIGEST_INVALID"},
    {"artifacts.manifest.invalid", 400, "MANIFEST_INVALID"},
    {"artifacts.manifest.blob_unknown", 404, "MANIFEST_BLOB_UNKNOWN"},
    {"artifacts.manifest.unknown", 404, "MANIFEST_UNKNOWN"},
    {"artifacts.repository.unknown", 404, "NAME_UNKNOWN"},
    {"http.body.too_large", 413, "SIZE_INVALID"},
};

}  // namespace

io::HttpResponse registry_error(int status, std::string_view code, std::string_view message) {
  io::HttpResponse response;
  response.status = status;
  response.headers.set("Content-Type", "application/json");
  response.body = to_text(JsonObject{
      {"errors", JsonArray{JsonObject{{"code", code}, {"message", message}, {"detail", nullptr}}}}});
  return response;
}

io::HttpResponse registry_error(const Error& error) {
  for (const Mapping& mapping : kMappings)
    if (mapping.reason == error.reason) return registry_error(mapping.status, mapping.code, error.message);
  if (error.code == Code::kUnauthenticated) return registry_error(401, "UNAUTHORIZED", error.message);
  if (error.code == Code::kPermissionDenied) return registry_error(403, "DENIED", error.message);
  return registry_error(http_status(error.code), "UNSUPPORTED", error.to_string());
}

Result<std::optional<ByteRange>> parse_range(std::string_view header, std::uint64_t size) {
  const auto unsatisfiable = [] {
    return fail(Code::kOutOfRange, "artifacts.range.unsatisfiable", "the range lies outside the blob");
  };
  constexpr std::string_view kUnit = "bytes=";
  if (!header.starts_with(kUnit) || header.find(',') != std::string_view::npos) return std::nullopt;
  header.remove_prefix(kUnit.size());
  const std::size_t dash = header.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = number(header.substr(0, dash));
  const auto last = number(header.substr(dash + 1));
  if (dash == 0) {
    if (!last) return std::nullopt;
    if (*last == 0 || size == 0) return unsatisfiable();
    return ByteRange{size - std::min(size, *last), size - 1};
  }
  if (!first || (dash + 1 < header.size() && !last)) return std::nullopt;
  if (*first >= size || (last && *last < *first)) return unsatisfiable();
  return ByteRange{*first, last ? std::min(*last, size - 1) : size - 1};
}

Result<ByteRange> parse_content_range(std::string_view header) {
  if (header.starts_with("bytes ")) header.remove_prefix(6);
  if (const std::size_t slash = header.find('/'); slash != std::string_view::npos)
    header = header.substr(0, slash);
  const std::size_t dash = header.find('-');
  const auto first = number(header.substr(0, dash));
  const auto last = dash == std::string_view::npos ? std::nullopt : number(header.substr(dash + 1));
  if (!first || !last)
    return fail(Code::kInvalidArgument, "artifacts.content_range.syntax",
                "Content-Range of a chunk reads FIRST-LAST, for example 0-1048575");
  if (*last < *first)
    return fail(Code::kOutOfRange, "artifacts.upload.offset", "Content-Range ends before it begins");
  return ByteRange{*first, *last};
}

}  // namespace neap::artifacts::internal
