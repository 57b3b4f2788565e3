#include "neap/telemetry/log.h"

#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>

namespace neap::telemetry {
namespace {

constexpr std::string_view kNames[] = {"debug", "info", "warning", "error"};

// A bare word where that is unambiguous, else a JSON string: one line either way.
void append_word(std::string& out, std::string_view text) {
  bool bare = !text.empty();
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (u <= ' ' || u >= 0x7f || c == '"' || c == '=' || c == '\\') bare = false;
  }
  if (bare)
    out += text;
  else
    out += boost::json::serialize(boost::json::string(text.data(), text.size()));
}

void append_value(std::string& out, const FieldValue& value) {
  if (const auto* text = std::get_if<std::string>(&value))
    append_word(out, *text);
  else if (const auto* number = std::get_if<std::int64_t>(&value))
    out += std::to_string(*number);
  else if (const auto* real = std::get_if<double>(&value))
    out += fmt::format("{:g}", *real);
  else
    out += std::get<bool>(value) ? "true" : "false";
}

boost::json::value json_of(const FieldValue& value) {
  return std::visit([](const auto& v) -> boost::json::value { return boost::json::value(v); }, value);
}

}  // namespace

std::string_view level_name(Level level) { return kNames[static_cast<int>(level)]; }

Result<Level> parse_level(std::string_view text) {
  for (int i = 0; i < 4; ++i)
    if (text == kNames[i]) return static_cast<Level>(i);
  return fail(Code::kInvalidArgument, "log.level",
              fmt::format("\"{}\" is no log level; use debug, info, warning or error", text));
}

std::string format_record(const Record& record, LogFormat format) {
  const std::string time = format_rfc3339(record.time, 6);
  if (format == LogFormat::kJson) {
    boost::json::object line{
        {"time", time}, {"level", level_name(record.level)}, {"message", record.message}};
    if (record.fields)
      for (const auto& field : *record.fields) line[field.key] = json_of(field.value);
    return boost::json::serialize(line);
  }
  std::string out = fmt::format("time={} level={} message=", time, level_name(record.level));
  append_word(out, record.message);
  if (record.fields)
    for (const auto& field : *record.fields) {
      out += ' ';
      append_word(out, field.key);
      out += '=';
      append_value(out, field.value);
    }
  return out;
}

void StderrSink::write(const Record& record) {
  std::string line = format_record(record, format_);
  line += '\n';
  // One call, so that lines of several threads do not mix.
  std::fwrite(line.data(), 1, line.size(), stderr);
}

Result<std::unique_ptr<FileSink>> FileSink::open(io::FileSystem& files, FileSinkOptions options) {
  std::unique_ptr<FileSink> out(new FileSink(files, std::move(options)));
  NEAP_TRY_VOID(out->reopen());
  return out;
}

Status FileSink::reopen() {
  NEAP_TRY(file_, files_.open(options_.path, io::OpenMode::kCreate));
  NEAP_TRY(size_, file_->size());
  return ok();
}

Status FileSink::rotate() {
  file_.reset();
  const auto name = [&](int n) { return n == 0 ? options_.path : fmt::format("{}.{}", options_.path, n); };
  for (int n = options_.files_max; n >= 1; --n)
    if (files_.exists(name(n - 1))) NEAP_TRY_VOID(files_.rename(name(n - 1), name(n)));
  if (options_.files_max < 1) (void)files_.remove(options_.path);
  return reopen();
}

void FileSink::write(const Record& record) {
  std::string line = format_record(record, options_.format);
  line += '\n';
  std::lock_guard lock(mutex_);
  // A failed rotation must not end logging: the file grows on instead.
  if (size_ > 0 && size_ + line.size() > options_.bytes_max && !rotate() && !file_) (void)reopen();
  if (!file_ || !file_->write_at(size_, line)) {
    ++dropped_;
    return;
  }
  size_ += line.size();
}

Logger Logger::with(std::initializer_list<Field> fields) const {
  Logger out = *this;
  out.fields_.insert(out.fields_.end(), fields);
  return out;
}

void Logger::log(Level level, std::string_view message, std::initializer_list<Field> fields) const {
  if (!is_enabled(level)) return;
  const WallTime time = clock_->wall();
  if (fields.size() == 0) {
    sink_->write({time, level, message, &fields_});
    return;
  }
  std::vector<Field> all = fields_;
  all.insert(all.end(), fields);
  sink_->write({time, level, message, &all});
}

}  // namespace neap::telemetry
