#include <fmt/format.h>

#include "neap/base/json.h"
#include "neap/ledger/ledger.h"
#include "neap/transfer/transfer.h"

namespace neap::transfer {

FileExportLog::FileExportLog(io::Runtime& runtime, std::string directory, bool keep_bytes, Ledger ledger)
    : runtime_(runtime),
      directory_(std::move(directory)),
      keep_bytes_(keep_bytes),
      ledger_(std::move(ledger)) {}

Status FileExportLog::write_line(const std::string& line) {
  NEAP_TRY(auto file, runtime_.files().open(directory_ + "/exports.jsonl", io::OpenMode::kCreate));
  NEAP_TRY(const std::uint64_t end, file->size());
  NEAP_TRY_VOID(file->write_at(end, line + "\n"));
  return file->sync();
}

Task<Status> FileExportLog::record(const ExportEntry& entry, std::string_view plain) {
  const std::string line = to_text(JsonObject{{"at", format_rfc3339(entry.at, 3)},
                                              {"source", entry.source.str()},
                                              {"destination", entry.destination.str()},
                                              {"purpose", entry.purpose},
                                              {"rule", entry.rule},
                                              {"level", dataguard::level_name(entry.level)},
                                              {"declassification", entry.declassified_by},
                                              {"content", entry.content.to_string()},
                                              {"contentBytes", entry.content_bytes},
                                              {"offset", entry.offset},
                                              {"bytes", entry.bytes},
                                              {"sha256", entry.chunk.hex()}});
  const Status written = co_await runtime_.offload([&]() -> Status {
    NEAP_TRY_VOID(runtime_.files().make_directories(directory_, 0700));
    if (keep_bytes_) {
      // By offset: a chunk that had to be sent twice is kept once.
      NEAP_TRY(auto file, runtime_.files().open(fmt::format("{}/{}.plain", directory_, entry.content.hex()),
                                                io::OpenMode::kCreate));
      NEAP_TRY_VOID(file->write_at(entry.offset, plain));
      NEAP_TRY_VOID(file->sync());
    }
    return write_line(line);
  });
  if (!written) co_return written;
  if (ledger_) co_return co_await ledger_(line);
  co_return ok();
}

namespace {
Task<Status> append_line(ledger::Ledger& stream, std::string line) {
  NEAP_CO_TRY(Json entry, parse_json(line));
  entry.as_object()["kind"] = "export";
  NEAP_CO_TRY_VOID(co_await stream.append(std::move(entry)));
  co_return ok();
}
}  // namespace

FileExportLog::Ledger export_ledger(ledger::Ledger& stream) {
  return [&stream](std::string line) { return append_line(stream, std::move(line)); };
}

}  // namespace neap::transfer
