// Text for people: tables, errors, and what keeps a server's text from steering the terminal.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "neap/base/json.h"
#include "neap/base/quantity.h"
#include "neap/base/result.h"

namespace neap::cli {

// Columns two blanks apart, as in api::table_text, the first row as the head; no trailing blanks. Cells
// become one line each.
std::string render_table(const std::vector<std::vector<std::string>>& rows);
// Control characters out; line ends and tabs stay where `keeps_lines`.
std::string printable(std::string_view text, bool keeps_lines = false);
// `error: what; why; what next`, with its line end. `kubeconfig` is named where the credentials are the
// cause.
std::string error_line(const Error& error, std::string_view kubeconfig = {});
// "12.50 USD" without digits that say nothing: at least two decimals, at most six.
std::string money_text(std::int64_t micros, std::string_view currency);
// "1.5 GiB".
std::string bytes_text(std::int64_t bytes);
// "-" where empty.
std::string or_dash(std::string_view text);
Json without_managed_fields(Json object);
// "json" or "yaml".
std::string structured_text(const Json& value, std::string_view format);

}  // namespace neap::cli
