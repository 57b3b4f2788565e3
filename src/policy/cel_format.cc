// format(): the clauses %s %d %f %e %b %o %x %X and %%, with a precision for the two of doubles.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "internal/node.h"

namespace neap::policy {
namespace {

using K = Value::Kind;
constexpr int kPrecisionMax = 1000, kPrecisionDefault = 6, kDepthMax = 32;

class Formatter {
 public:
  Formatter(const Value& pattern, const Value& args, std::uint64_t& steps_left)
      : text_(pattern.as_text()), args_(args), steps_left_(steps_left) {}

  Fault run() {
    for (std::size_t at = 0; at < text_.size();) {
      if (text_[at] != '%') {
        out_ += text_[at++];
        continue;
      }
      if (++at == text_.size()) return Fault::kFormat;
      if (text_[at] == '%') {
        out_ += '%';
        ++at;
        continue;
      }
      int precision = kPrecisionDefault;
      if (text_[at] == '.') {
        precision = 0;
        const auto first = ++at;
        for (; at < text_.size() && text_[at] >= '0' && text_[at] <= '9'; ++at) {
          precision = precision * 10 + (text_[at] - '0');
          if (precision > kPrecisionMax) return Fault::kFormat;
        }
        if (at == first || at == text_.size()) return Fault::kFormat;
      }
      if (used_ >= args_.size()) return Fault::kFormat;
      const auto before = out_.size();
      const Fault fault = add_clause(text_[at++], precision, args_.element(used_++));
      if (fault != Fault::kNone) return fault;
      if (!spend(steps_left_, 1 + (out_.size() - before) / 16)) return Fault::kBudget;
    }
    return Fault::kNone;
  }
  std::string take() { return std::move(out_); }

 private:
  Fault add_clause(char clause, int precision, const Value& v) {
    switch (clause) {
      case 's':
        return add_text(v, 0);
      case 'd':
        if (v.is(K::kInt) || v.is(K::kUint) || v.is(K::kDouble)) return add_number(v);
        return Fault::kFormat;
      case 'f':
      case 'e':
        return add_real(clause, precision, v);
      case 'b':
        if (v.is(K::kBool)) return add(v.as_bool() ? "1" : "0");
        return add_based("{:b}", v);
      case 'o':
        return add_based("{:o}", v);
      case 'x':
      case 'X':
        return add_hex(clause == 'X', v);
      default:
        return Fault::kFormat;
    }
  }
  Fault add(std::string_view text) {
    out_ += text;
    return Fault::kNone;
  }
  Fault add_number(const Value& v) {
    if (v.is(K::kDouble)) return add(format_double(v.as_double()));
    return add(v.is(K::kInt) ? fmt::format("{}", v.as_int()) : fmt::format("{}", v.as_uint()));
  }
  Fault add_real(char clause, int precision, const Value& v) {
    double x = 0;
    if (v.is(K::kDouble)) {
      x = v.as_double();
    } else if (v.is(K::kInt)) {
      x = double(v.as_int());
    } else if (v.is(K::kUint)) {
      x = double(v.as_uint());
    } else {
      return Fault::kFormat;
    }
    if (!std::isfinite(x)) return add(format_double(x));
    return add(clause == 'f' ? fmt::format("{:.{}f}", x, precision) : fmt::format("{:.{}e}", x, precision));
  }
  Fault add_based(const char* pattern, const Value& v) {
    if (v.is(K::kInt)) return add(fmt::format(fmt::runtime(pattern), v.as_int()));
    if (v.is(K::kUint)) return add(fmt::format(fmt::runtime(pattern), v.as_uint()));
    return Fault::kFormat;
  }
  Fault add_hex(bool upper, const Value& v) {
    if (!v.is(K::kString) && !v.is(K::kBytes)) return add_based(upper ? "{:X}" : "{:x}", v);
    for (const char c : v.as_text()) {
      const auto byte = static_cast<unsigned char>(c);
      out_ += upper ? fmt::format("{:02X}", byte) : fmt::format("{:02x}", byte);
    }
    return Fault::kNone;
  }
  Fault add_text(const Value& v, int depth) {
    if (depth > kDepthMax || !spend(steps_left_, 1 + out_.size() / 4096)) return Fault::kBudget;
    switch (v.kind()) {
      case K::kBytes:
        return is_utf8(v.as_text()) ? add(v.as_text()) : Fault::kFormat;
      case K::kInt:
      case K::kUint:
      case K::kDouble:
        return add_number(v);
      case K::kList:
        return add_list(v, depth);
      case K::kMap:
        return add_map(v, depth);
      case K::kOptional:
        return Fault::kFormat;
      default:
        return add(v.to_text());
    }
  }
  Fault add_list(const Value& v, int depth) {
    out_ += '[';
    for (std::size_t i = 0; i < v.size(); ++i) {
      if (i > 0) out_ += ", ";
      const Fault fault = add_text(v.element(i), depth + 1);
      if (fault != Fault::kNone) return fault;
    }
    return add("]");
  }
  // Entries in the order of their keys' text, so that equal maps print alike.
  Fault add_map(const Value& v, int depth) {
    std::vector<std::pair<std::string, Value>> entries;
    for (std::size_t i = 0; i < v.size(); ++i) {
      auto [key, held] = v.entry(i);
      std::string spelled = key.is(K::kUint) ? fmt::format("{}", key.as_uint()) : key.to_text();
      entries.emplace_back(std::move(spelled), std::move(held));
    }
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    out_ += '{';
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      out_ += entries[i].first;
      out_ += ": ";
      const Fault fault = add_text(entries[i].second, depth + 1);
      if (fault != Fault::kNone) return fault;
    }
    return add("}");
  }

  std::string_view text_;
  const Value& args_;
  std::uint64_t& steps_left_;
  std::size_t used_ = 0;
  std::string out_;
};

}  // namespace

Fault call_format(const Value& pattern, const Value& args, std::uint64_t& steps_left, Value& out) {
  if (!pattern.is(K::kString) || !args.is(K::kList)) return Fault::kNoOverload;
  Formatter formatter(pattern, args, steps_left);
  const Fault fault = formatter.run();
  return fault == Fault::kNone ? give(out, Value::string(formatter.take())) : fault;
}

}  // namespace neap::policy
