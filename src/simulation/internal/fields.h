// Fields: one mapping of a scenario, read member by member. The first problem is kept with file, line, field,
// what is wrong and what to write; reading goes on with defaults, so callers check once at the end.
//
// Threads: none; one reader. Borrows the documents it reads.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/quantity.h"
#include "neap/base/result.h"
#include "neap/base/time.h"

namespace neap::simulation {

class Problems {
 public:
  Problems(std::string_view text, std::string_view file) : text_(text), file_(file) {}

  // Index of the document that fields are read from now.
  void enter(std::size_t document) { document_ = document; }
  void add(std::string_view path, std::string_view what);
  bool any() const { return first_.has_value(); }
  Status status() const;

 private:
  std::string_view text_, file_;
  std::size_t document_ = 0;
  std::optional<Error> first_;
};

class Fields {
 public:
  // `value` null: the mapping is absent, and every member has its default.
  Fields(const Json* value, std::string path, Problems& problems);

  bool is_present() const { return object_ != nullptr; }
  bool has(std::string_view key) const { return object_ && object_->if_contains(key); }
  const std::string& path() const { return path_; }
  std::string path_of(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  void refuse(std::string_view key, std::string_view what) { problems_->add(path_of(key), what); }

  // Scalars; numbers are accepted where text is asked for, as in Kubernetes quantities.
  std::string text(std::string_view key, std::string_view otherwise = {}, std::size_t length_max = 253);
  std::string required_text(std::string_view key);
  // One of `words`; the first where absent.
  std::size_t choice(std::string_view key, const std::vector<std::string_view>& words);
  std::int64_t integer(std::string_view key, std::int64_t otherwise, std::int64_t least, std::int64_t most);
  double number(std::string_view key, double otherwise, double least, double most);
  bool flag(std::string_view key, bool otherwise);
  // Milliseconds of "90s", "1h30m".
  std::int64_t milliseconds(std::string_view key, std::int64_t otherwise);
  Bytes bytes(std::string_view key, Bytes otherwise = {});
  MilliCores cores(std::string_view key, MilliCores otherwise = {});
  MilliAccelerators accelerators(std::string_view key);
  // Decimal text of a currency's unit.
  MoneyMicros money(std::string_view key, MoneyMicros otherwise = {});
  std::optional<WallTime> time(std::string_view key);
  std::vector<std::string> texts(std::string_view key, std::size_t count_max);

  Fields object(std::string_view key);
  // Elements of a list of mappings.
  std::vector<Fields> objects(std::string_view key, std::size_t count_max);
  // Members of a mapping of scalars, as text, in the order written.
  std::vector<std::pair<std::string, std::string>> entries(std::string_view key, std::size_t count_max);

  // Refuses members nobody asked for; call it last.
  void finish();

 private:
  const Json* take(std::string_view key);
  std::optional<std::string> scalar(std::string_view key);
  template <typename T>
  T parsed(std::string_view key, T otherwise, Result<T> (*parse)(std::string_view));

  const JsonObject* object_ = nullptr;
  std::string path_;
  Problems* problems_;
  std::set<std::string, std::less<>> taken_;
};

}  // namespace neap::simulation
