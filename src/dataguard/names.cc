// Names are found by who announces them: a label word ("inspector", "姓名") in front, or being named as who
// did something ("confirmed by Wei Zhang", "由张伟确认").
#include <algorithm>
#include <array>
#include <string_view>

#include "internal/anchor_scan.h"

namespace neap::dataguard::internal {
namespace {

constexpr std::array<std::string_view, 18> kAsciiLabels{
    "inspector", "operator", "technician", "supervisor", "engineer", "name",
    "fullname",  "contact",  "patient",    "customer",   "employee", "worker",
    "reviewer",  "approver", "reporter",   "owner",      "mr",       "mrs"};
constexpr std::array<std::string_view, 20> kCjkLabels{
    "姓名",   "检验员", "质检员", "操作员", "联系人", "负责人", "审核人", "审批人", "经办人", "班长",
    "工程师", "客户",   "患者",   "员工",   "巡检员", "签字",   "记录人", "复核",   "司机",   "收件人"};
// What people do in records: 由 in front of a name and one of these behind it.
constexpr std::array<std::string_view, 16> kCjkDeeds{"确认", "检查", "检验", "审核", "复核", "签字",
                                                     "记录", "处理", "负责", "操作", "批准", "上报",
                                                     "拍摄", "登记", "发现", "提交"};
// The hundred most frequent surnames, about 85 % of people, and two-character ones.
constexpr std::string_view kSurnames =
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘"
    "杜戴夏钟汪"
    "田任姜范方石姚谭廖邹熊金陆郝孔白崔康毛邱秦江史顾侯邵孟龙万段雷钱汤尹黎易常武乔贺赖龚文";
constexpr std::array<std::string_view, 6> kDoubleSurnames{"欧阳", "司马", "上官", "诸葛", "夏侯", "皇甫"};

bool is_cjk(std::string_view t, std::size_t i) {
  if (i + 3 > t.size()) return false;
  const auto a = static_cast<unsigned char>(t[i]);
  const auto b = static_cast<unsigned char>(t[i + 1]);
  const auto c = static_cast<unsigned char>(t[i + 2]);
  return a >= 0xE4 && a <= 0xE9 && (b & 0xC0) == 0x80 && (c & 0xC0) == 0x80;
}

std::size_t skip_separators(std::string_view t, std::size_t i) {
  for (;;) {
    if (i < t.size() &&
        (t[i] == ' ' || t[i] == ':' || t[i] == '=' || t[i] == '"' || t[i] == '\'' || t[i] == '.')) {
      ++i;
    } else if (t.substr(i, 3) == "：" || t.substr(i, 3) == "是" || t.substr(i, 3) == "为") {
      i += 3;
    } else {
      return i;
    }
  }
}

// Bytes of the Chinese name at i; 0 when there is none.
std::size_t chinese_name(std::string_view t, std::size_t i, bool needs_end) {
  if (!is_cjk(t, i)) return 0;
  std::size_t surname = 0;
  const std::string_view two = t.substr(i, 6);
  if (std::ranges::find(kDoubleSurnames, two) != kDoubleSurnames.end()) {
    surname = 6;
  } else if (const std::size_t at = kSurnames.find(t.substr(i, 3));
             at != std::string_view::npos && at % 3 == 0) {
    surname = 3;
  }
  if (surname == 0) return 0;
  std::size_t end = i + surname;
  std::size_t given = 0;
  while (given < 2 && is_cjk(t, end)) {
    end += 3;
    ++given;
  }
  if (given == 0) return 0;
  if (needs_end && is_cjk(t, end)) return 0;
  return end - i;
}

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

// One to four capitalised words; 0 when the first is none.
std::size_t latin_name(std::string_view t, std::size_t i) {
  std::size_t end = i;
  for (int words = 0; words < 4; ++words) {
    std::size_t w = words == 0 ? end : end + 1;
    if (words > 0 && (end >= t.size() || t[end] != ' ')) break;
    if (w >= t.size() || !is_upper(t[w])) break;
    std::size_t e = w + 1;
    while (e < t.size() && (is_lower(t[e]) || is_upper(t[e]) || t[e] == '-' || t[e] == '\'' ||
                            static_cast<unsigned char>(t[e]) >= 0x80))
      ++e;
    if (e - w < 2 && !(e < t.size() && t[e] == '.')) break;
    if (e - w == 1) ++e;
    end = e;
  }
  return end - i >= 2 ? end - i : 0;
}

void after_label(std::string_view t, std::size_t i, std::vector<Finding>& out) {
  const std::size_t start = skip_separators(t, i);
  std::size_t length = chinese_name(t, start, false);
  if (length == 0) length = latin_name(t, start);
  if (length != 0) out.push_back({EntityType::kPersonName, start, length, 0.7F});
}

// 由 NAME VERB; the verb tells the name's end, and 由于 from a name.
void after_by_cjk(std::string_view t, std::size_t i, std::vector<Finding>& out) {
  const std::size_t longest = chinese_name(t, i, false);
  for (std::size_t length = longest; length >= 6; length -= 3) {
    const std::string_view behind = t.substr(i + length, 6);
    if (std::ranges::find(kCjkDeeds, behind) == kCjkDeeds.end()) continue;
    out.push_back({EntityType::kPersonName, i, length, 0.7F});
    return;
  }
}

// "by" and at least two capitalised words.
void after_by(std::string_view t, std::size_t i, std::vector<Finding>& out) {
  if (i >= t.size() || t[i] != ' ') return;
  const std::size_t length = latin_name(t, i + 1);
  if (t.substr(i + 1, length).find(' ') == std::string_view::npos) return;
  out.push_back({EntityType::kPersonName, i + 1, length, 0.7F});
}

}  // namespace

void scan_names(std::string_view t, std::vector<Finding>& out) {
  for (std::size_t i = 0; i < t.size(); ++i) {
    const auto c = static_cast<unsigned char>(t[i]);
    if (c >= 0xE4 && c <= 0xE9) {
      if (t.substr(i, 3) == "由") after_by_cjk(t, i + 3, out);
      for (std::string_view label : kCjkLabels) {
        if (t.substr(i, label.size()) == label) {
          after_label(t, i + label.size(), out);
          i += label.size() - 1;
          break;
        }
      }
    } else if ((kByteClass[c] & kAlpha) &&
               (i == 0 || (kByteClass[static_cast<unsigned char>(t[i - 1])] & kAlpha) == 0)) {
      std::size_t end = i;
      char folded[12];
      while (end < t.size() && end - i < sizeof folded &&
             (kByteClass[static_cast<unsigned char>(t[end])] & kAlpha)) {
        folded[end - i] = static_cast<char>(t[end] | 0x20);
        ++end;
      }
      const std::string_view word(folded, end - i);
      if (std::ranges::find(kAsciiLabels, word) != kAsciiLabels.end()) {
        std::size_t from = end;
        if (t.substr(from, 4) == " is ") from += 4;
        after_label(t, from, out);
      } else if (word == "by") {
        after_by(t, end, out);
      }
      i = end > i ? end - 1 : i;
    }
  }
}

}  // namespace neap::dataguard::internal
