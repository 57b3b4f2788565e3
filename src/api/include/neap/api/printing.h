// What people see: meta.k8s.io Tables for kubectl, and the same table as text for `neap get`.
#pragma once

#include <string>

#include "neap/api/kind.h"
#include "neap/base/time.h"

namespace neap::api {

struct TableOptions {
  WallTime now{};              // for ages
  std::string version = "v1";  // of meta.k8s.io, as the Accept header asked
  enum class Rows { kNothing, kMetadata, kObject } rows = Rows::kMetadata;  // the includeObject parameter
};
// A Table of one object, or of the items of a list; list metadata (resourceVersion, continue) is kept.
Json to_table(const KindEntry& kind, const Json& object_or_list, const TableOptions& options);

struct TextTableOptions {
  bool wide = false;  // columns of priority > 0 too
  bool headers = true;
  bool with_namespace = false;  // needs rows with metadata
};
// Columns two blanks wider than their longest cell; control characters never reach the terminal.
std::string table_text(const Json& table, const TextTableOptions& options = {});

// "45s", "3m20s", "5h", "2d3h": the coarseness of kubectl.
std::string format_age(Duration age);

}  // namespace neap::api
