// Declassification: the one way a level goes down, by a named rule, counted line by line.
//
// Rule "mask-identifiers-v1" reads JSON Lines and writes JSON Lines:
// 1. A record of level L1 is dropped and counted; it appears in the output in no form.
// 2. Every string, object key and whole number of the others is scanned and masked, fields that hold
//    names by their key are replaced whole. A name that learn_names() saw in such a field is masked
//    wherever it stands in other text: free text names people without announcing them.
// 3. Each line written was scanned again and is clean; one that is not, or is no JSON object, or is too
//    long is dropped and counted as refused: nothing passes unread.
// Streaming: memory is bounded by record_bytes_max whatever arrives. One thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "neap/base/json.h"
#include "neap/dataguard/dataguard.h"
#include "neap/dataguard/mask.h"

namespace neap::dataguard {

inline constexpr std::string_view kMaskIdentifiersV1 = "mask-identifiers-v1";

struct DeclassificationRule {
  std::string name{kMaskIdentifiersV1};
  std::string level_field = "level";  // top-level member that overrides source_level upwards only
  Level source_level = Level::kL2;    // of records that carry no level of their own
  bool strict = false;                // of the source: the derivative stays Strict
  std::vector<std::string> name_fields = {
      "name",           "fullName",     "full_name",    "inspector",     "inspectorName",
      "inspector_name", "operator",     "operatorName", "operator_name", "contact",
      "customer",       "customerName", "employee",     "worker",        "姓名",
      "检验员",         "质检员",       "操作员",       "联系人"};  // compared without case
  std::vector<std::string> drop_fields;                             // removed whole, at any depth
  MaskPolicy masking;
  std::size_t record_bytes_max = 1u << 20;
};

struct DeclassificationReport {
  std::uint64_t records = 0;  // lines that held something
  std::uint64_t records_written = 0;
  std::uint64_t records_masked = 0;     // of those written
  std::uint64_t records_kept_home = 0;  // L1
  std::uint64_t records_refused = 0;    // unreadable, too long, or not clean after masking
  std::uint64_t identifiers_masked = 0;
  std::map<std::string, std::uint64_t> by_type;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
};

class Declassifier {
 public:
  // kInvalidArgument `dataguard.declassify.rule` for a rule nobody defined, or for L1 as source level
  // (an L1 source has no derivative).
  static Result<Declassifier> create(DeclassificationRule rule);
  // Remembers the names that a record's name fields hold, L1 records included. To be called for the whole
  // dataset before feed(); unreadable lines teach nothing.
  void learn_names(std::string_view line);
  // Appends finished lines to `out`.
  void feed(std::string_view chunk, std::string& out);
  // The rest without a line end, and what the derivative is.
  Classification finish(std::string& out);
  const DeclassificationReport& report() const { return report_; }

 private:
  explicit Declassifier(DeclassificationRule rule) : rule_(std::move(rule)) {}
  void take_line(std::string_view line, std::string& out);
  bool mask_value_in(std::string_view key, Json& value, std::uint64_t& masked);
  bool mask_text(std::string_view key, std::string_view text, std::string& replacement,
                 std::uint64_t& masked);
  void count(const std::vector<Finding>& found);
  void collect_names(const Json& value);
  std::uint64_t mask_known_names(std::string& text);

  DeclassificationRule rule_;
  DeclassificationReport report_;
  std::unordered_set<std::string> known_names_;
  std::set<std::size_t> name_lengths_;               // bytes, of known_names_
  std::unordered_set<std::string> name_beginnings_;  // first character of each
  std::string partial_;
  std::string labelled_;   // scratch
  bool skipping_ = false;  // inside a line that is too long
};

struct Derivative {
  std::string records;
  Classification classification;
  DeclassificationReport report;
};
Result<Derivative> declassify(std::string_view records, const DeclassificationRule& rule);

}  // namespace neap::dataguard
