#include <fmt/format.h>

#include <functional>

#include "neap/agent/data_plane.h"
#include "neap/dataguard/declassify.h"

namespace neap::agent {
namespace {

constexpr std::size_t kPieceBytes = 256u << 10;
constexpr std::size_t kImageBytes = 784;
constexpr std::uint64_t kRecordsBytesMax = 4ull << 30;

// Appends to a file in large pieces.
class PieceWriter {
 public:
  static Result<PieceWriter> create(io::FileSystem& files, const std::string& path) {
    PieceWriter out;
    NEAP_TRY(out.file_, files.open(path, io::OpenMode::kCreate));
    NEAP_TRY_VOID(out.file_->truncate(0));
    return out;
  }
  Status write(std::string_view data) {
    pending_ += data;
    return pending_.size() < kPieceBytes ? ok() : flush();
  }
  Status finish() {
    NEAP_TRY_VOID(flush());
    return file_->sync();
  }

 private:
  Status flush() {
    NEAP_TRY_VOID(file_->write_at(at_, pending_));
    at_ += pending_.size();
    pending_.clear();
    return ok();
  }
  std::unique_ptr<io::File> file_;
  std::string pending_;
  std::uint64_t at_ = 0;
};

struct Outcome {
  dataguard::DeclassificationReport report;
  std::uint64_t bytes_raw = 0;
};

// Calls `take` with each line of the file, its end included.
Status for_each_line(io::File& file, const std::string& name,
                     const std::function<Status(std::string_view)>& take) {
  std::string buffer;
  for (std::uint64_t at = 0;;) {
    NEAP_TRY(const auto got, file.read_at(at, buffer, kPieceBytes));
    at += got;
    if (at > kRecordsBytesMax)
      return fail(Code::kResourceExhausted, "collect.size",
                  fmt::format("{} is larger than {} bytes; split the dataset", name, kRecordsBytesMax));
    std::size_t start = 0;
    for (auto end = buffer.find('\n'); end != std::string::npos; end = buffer.find('\n', start)) {
      NEAP_TRY_VOID(take(std::string_view(buffer).substr(start, end + 1 - start)));
      start = end + 1;
    }
    buffer.erase(0, start);
    if (got == 0) break;
  }
  return buffer.empty() ? ok() : take(buffer + "\n");
}

// Line by line, so that the picture of a record that stays home stays home with it.
Result<Outcome> mask_records(io::FileSystem& files, const api::CollectWork& work, const std::string& from,
                             const std::string& to) {
  dataguard::DeclassificationRule rule;
  rule.name = work.declassification;
  rule.source_level = work.level;
  NEAP_TRY(auto declassifier, dataguard::Declassifier::create(rule));
  NEAP_TRY(auto records, files.open(from + "/records.jsonl", io::OpenMode::kRead));
  NEAP_TRY(auto images, files.open(from + "/images.bin", io::OpenMode::kRead));
  NEAP_TRY(auto records_out, PieceWriter::create(files, to + "/records.jsonl"));
  NEAP_TRY(auto images_out, PieceWriter::create(files, to + "/images.bin"));
  Outcome out;
  std::string masked, image;
  const auto take = [&](std::string_view line) -> Status {
    masked.clear();
    declassifier.feed(line, masked);
    if (masked.empty()) return ok();
    NEAP_TRY(const auto record, parse_json(line));
    NEAP_TRY_VOID(records_out.write(masked));
    const auto index = get_int(record, "image_index", -1);
    if (index < 0)
      return fail(Code::kInvalidArgument, "collect.record",
                  "a record has no image_index; the dataset's format is records+images");
    image.clear();
    NEAP_TRY(const auto got, images->read_at(std::uint64_t(index) * kImageBytes, image, kImageBytes));
    if (got != kImageBytes)
      return fail(Code::kInvalidArgument, "collect.image",
                  fmt::format("images.bin ends before image {}", index));
    out.bytes_raw += kImageBytes;
    return images_out.write(image);
  };
  NEAP_TRY_VOID(for_each_line(*records, from + "/records.jsonl", [&](std::string_view line) {
    out.bytes_raw += line.size();
    declassifier.learn_names(line);
    return ok();
  }));
  NEAP_TRY_VOID(for_each_line(*records, from + "/records.jsonl", take));
  masked.clear();
  const auto classification = declassifier.finish(masked);
  if (classification.level != api::DataLevel::kL3)
    return fail(Code::kPermissionDenied, "collect.level", "the masked records are not L3; nothing was sent");
  NEAP_TRY_VOID(records_out.finish());
  NEAP_TRY_VOID(images_out.finish());
  out.report = declassifier.report();
  return out;
}

class MaskingCollector final : public Collector {
 public:
  MaskingCollector(io::Runtime& runtime, EgressGate& gate) : runtime_(runtime), gate_(gate) {}
  Task<Result<CollectedPart>> prepare(CallContext, api::CollectWork work, std::string source_directory,
                                      std::string output_directory) override {
    NEAP_CO_TRY_VOID(runtime_.files().make_directories(output_directory, 0700));
    auto& files = runtime_.files();
    NEAP_CO_TRY(const auto done,
                co_await runtime_.offload([&files, work, source_directory, output_directory] {
                  return mask_records(files, work, source_directory, output_directory);
                }));
    const auto& report = done.report;
    JsonObject by_type;
    for (const auto& [type, count] : report.by_type) by_type[type] = count;
    ExportIntent intent;
    intent.owner = "DatasetVersion/" + work.version;
    NEAP_CO_TRY_VOID(co_await gate_.record_declassification(intent, work.declassification,
                                                            Json{{"records", report.records},
                                                                 {"written", report.records_written},
                                                                 {"masked", report.records_masked},
                                                                 {"keptHome", report.records_kept_home},
                                                                 {"refused", report.records_refused},
                                                                 {"identifiers", report.identifiers_masked},
                                                                 {"byType", std::move(by_type)}}));
    CollectedPart out;
    out.files = {{"records.jsonl", output_directory + "/records.jsonl"},
                 {"images.bin", output_directory + "/images.bin"}};
    out.part.records = std::int64_t(report.records);
    out.part.recordsMasked = std::int64_t(report.records_masked);
    out.part.recordsKeptHome = std::int64_t(report.records_kept_home + report.records_refused);
    out.part.identifiersMasked = std::int64_t(report.identifiers_masked);
    out.part.bytesRaw = Bytes{std::int64_t(done.bytes_raw)};
    co_return out;
  }

 private:
  io::Runtime& runtime_;
  EgressGate& gate_;
};

}  // namespace

std::unique_ptr<Collector> make_masking_collector(io::Runtime& runtime, EgressGate& gate) {
  return std::make_unique<MaskingCollector>(runtime, gate);
}

}  // namespace neap::agent
