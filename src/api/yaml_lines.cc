#include "neap/api/yaml_lines.h"

#include <yaml.h>

#include <charconv>
#include <memory>
#include <string>
#include <vector>

namespace neap::api {
namespace {

struct Step {
  std::string key;        // of a mapping
  std::size_t index = 0;  // of a sequence
  bool is_index = false;
};

std::vector<Step> split_path(std::string_view path) {
  std::vector<Step> out;
  while (!path.empty()) {
    if (path.front() == '.') {
      path.remove_prefix(1);
    } else if (path.front() == '[') {
      const auto end = std::min(path.find(']'), path.size());
      Step step{.key = {}, .index = 0, .is_index = true};
      std::from_chars(path.data() + 1, path.data() + end, step.index);
      out.push_back(step);
      path.remove_prefix(std::min(end + 1, path.size()));
    } else {
      const auto end = std::min(path.find_first_of(".["), path.size());
      out.push_back({.key = std::string(path.substr(0, end)), .index = 0, .is_index = false});
      path.remove_prefix(end);
    }
  }
  return out;
}

class LineFinder {
 public:
  LineFinder(std::string_view text, std::vector<Step> steps) : steps_(std::move(steps)) {
    is_open_ = ok_ = yaml_parser_initialize(&parser_) == 1;
    if (!is_open_) return;
    yaml_parser_set_encoding(&parser_, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~LineFinder() {
    if (is_open_) yaml_parser_delete(&parser_);
  }
  LineFinder(const LineFinder&) = delete;
  LineFinder& operator=(const LineFinder&) = delete;

  std::size_t find(std::size_t document) {
    for (std::size_t seen = 0; ok_;) {
      const auto event = next();
      if (!event || event->type == YAML_STREAM_END_EVENT) break;
      if (event->type != YAML_DOCUMENT_START_EVENT) continue;
      const auto root = next();
      if (!root) break;
      const bool is_empty = root->type == YAML_SCALAR_EVENT && root->end_mark.index == root->start_mark.index;
      if (is_empty) continue;
      const bool is_meant = seen++ == document;
      if (is_meant) line_ = root->start_mark.line + 1;
      visit(*root, is_meant ? 0 : kOff);
      if (is_meant) break;
    }
    return line_;
  }

 private:
  static constexpr std::size_t kOff = ~std::size_t(0);
  using Event = std::unique_ptr<yaml_event_t, void (*)(yaml_event_t*)>;

  Event next() {
    auto raw = std::make_unique<yaml_event_t>();
    if (yaml_parser_parse(&parser_, raw.get()) != 1) {
      ok_ = false;
      return {nullptr, nullptr};
    }
    return {raw.release(), [](yaml_event_t* event) {
              yaml_event_delete(event);
              delete event;
            }};
  }

  // `depth`: steps of the path met so far, or kOff beside it. Iterative beside the path, so that deep nesting
  // costs no stack.
  void visit(const yaml_event_t& start, std::size_t depth) {
    if (start.type != YAML_MAPPING_START_EVENT && start.type != YAML_SEQUENCE_START_EVENT) return;
    if (depth == kOff || depth >= steps_.size()) return skip();
    const auto& step = steps_[depth];
    const bool is_mapping = start.type == YAML_MAPPING_START_EVENT;
    for (std::size_t index = 0; ok_; ++index) {
      auto item = next();
      if (!item || item->type == YAML_MAPPING_END_EVENT || item->type == YAML_SEQUENCE_END_EVENT) return;
      bool is_meant = !is_mapping && step.is_index && step.index == index;
      if (is_mapping) {
        is_meant = !step.is_index && item->type == YAML_SCALAR_EVENT &&
                   std::string_view(reinterpret_cast<const char*>(item->data.scalar.value),
                                    item->data.scalar.length) == step.key;
        if (is_meant) line_ = item->start_mark.line + 1;
        if (item->type != YAML_SCALAR_EVENT && item->type != YAML_ALIAS_EVENT) skip();
        item = next();
        if (!item) return;
      } else if (is_meant) {
        line_ = item->start_mark.line + 1;
      }
      visit(*item, is_meant ? depth + 1 : kOff);
    }
  }

  // The rest of a mapping or sequence that has just begun.
  void skip() {
    for (std::size_t open = 1; open > 0 && ok_;) {
      const auto event = next();
      if (!event) return;
      if (event->type == YAML_MAPPING_START_EVENT || event->type == YAML_SEQUENCE_START_EVENT) ++open;
      if (event->type == YAML_MAPPING_END_EVENT || event->type == YAML_SEQUENCE_END_EVENT) --open;
    }
  }

  std::vector<Step> steps_;
  yaml_parser_t parser_{};
  bool is_open_ = false, ok_ = false;  // there is a parser; it has not failed
  std::size_t line_ = 0;
};

}  // namespace

std::size_t find_yaml_line(std::string_view text, std::size_t document, std::string_view path) {
  return LineFinder(text, split_path(path)).find(document);
}

}  // namespace neap::api
