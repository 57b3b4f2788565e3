#include "internal/output.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "neap/api/codec.h"

namespace neap::cli {
namespace {

std::size_t width_of(std::string_view text) {
  return std::size_t(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// What to do next, for errors whose sentence comes from a server or the system and does not say.
std::string next_step(const Error& error, std::string_view kubeconfig) {
  const auto file = kubeconfig.empty() ? std::string("the kubeconfig") : std::string(kubeconfig);
  switch (error.code) {
    case Code::kUnauthenticated:
      return fmt::format("the server did not take the credentials of {}; get a fresh kubeconfig from it",
                         file);
    case Code::kUnavailable:
      return fmt::format("check that the server runs and that {} names it", file);
    case Code::kPermissionDenied:
      return "ask an administrator for a role that allows it";
    case Code::kDeadlineExceeded:
      return "try again, or give it more time";
    default:
      return {};
  }
}

}  // namespace

std::string printable(std::string_view text, bool keeps_lines) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    // C1 controls are two bytes in UTF-8: 0xc2 0x80 to 0xc2 0x9f.
    const bool is_c1 = c == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    if (is_c1) {
      out += ' ';
      ++i;
    } else if ((c < 0x20 || c == 0x7f) && !(keeps_lines && (c == '\n' || c == '\t'))) {
      out += ' ';
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string render_table(const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(printable(row[i])));
  }
  std::string out;
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      const auto cell = printable(row[i]);
      line += cell;
      line.append(widths[i] - width_of(cell) + 2, ' ');
    }
    while (line.ends_with(' ')) line.pop_back();
    out += line + "\n";
  }
  return out;
}

std::string error_line(const Error& error, std::string_view kubeconfig) {
  std::string message = error.message.empty() ? std::string(code_name(error.code)) : error.message;
  for (auto it = error.context.rbegin(); it != error.context.rend(); ++it)
    message = fmt::format("{}: {}", *it, message);
  while (message.ends_with('.') || message.ends_with('\n')) message.pop_back();
  if (const auto next = next_step(error, kubeconfig); !next.empty()) message += "; " + next;
  // A CEL error draws a caret under the place: the one text that needs its lines.
  return fmt::format("error: {}\n", printable(message, error.reason.starts_with("cel.")));
}

std::string money_text(std::int64_t micros, std::string_view currency) {
  std::string out = format_money(MoneyMicros{micros});
  const auto point = out.find('.');
  if (point != std::string::npos)
    while (out.ends_with('0') && out.size() > point + 3) out.pop_back();
  return currency.empty() ? out : fmt::format("{} {}", out, currency);
}

std::string bytes_text(std::int64_t bytes) {
  constexpr std::array<std::string_view, 6> kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = double(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string or_dash(std::string_view text) { return std::string(text.empty() ? "-" : text); }

Json without_managed_fields(Json object) {
  const auto strip = [](Json& one) {
    if (auto* members = one.if_object())
      if (auto* metadata = members->if_contains("metadata"); metadata && metadata->is_object())
        metadata->get_object().erase("managedFields");
  };
  strip(object);
  if (auto* members = object.if_object())
    if (auto* items = members->if_contains("items"); items && items->is_array())
      for (auto& item : items->get_array()) strip(item);
  return object;
}

std::string structured_text(const Json& value, std::string_view format) {
  auto out = format == "yaml" ? api::to_yaml(value) : to_pretty_text(value);
  if (!out.ends_with('\n')) out += '\n';
  return out;
}

}  // namespace neap::cli
