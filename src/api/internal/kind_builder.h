// Fills a KindTable; used by the kinds_*.cc files, each of which adds one family.
#pragma once

#include <optional>

#include "internal/shape.h"
#include "neap/api/kind.h"
#include "neap/api/resource.h"

namespace neap::api {

class KindTableBuilder {
 public:
  struct Names {
    std::string group, version, kind, plural;
    std::vector<std::string> short_names;
    bool namespaced = true;
  };
  // `body`: fields beside apiVersion, kind and metadata.
  KindEntry& add(Names names, std::string doc, std::vector<internal::Field> body);
  template <class T>
  KindEntry& add_described(std::vector<std::string> short_names, std::string doc) {
    const auto shapes = internal::shapes_of_kind<T>();
    std::vector<internal::Field> body;
    body.push_back(internal::make_field("spec", shapes.spec, "What is wanted.", kRequired));
    if (shapes.status)
      body.push_back(
          internal::make_field("status", shapes.status, "What is; written by controllers and agents."));
    auto& entry = add({std::string(kGroup), std::string(kVersion), std::string(KindOf<T>::kind),
                       std::string(KindOf<T>::plural), std::move(short_names), KindOf<T>::namespaced},
                      std::move(doc), std::move(body));
    entry.categories = {"all", "neap"};
    return entry;
  }
  KindTable build() { return std::move(table_); }

 private:
  KindTable table_;
};

void add_neap_kinds(KindTableBuilder& builder);
void add_kubernetes_kinds(KindTableBuilder& builder);
void add_foreign_documents(KindTableBuilder& builder);

}  // namespace neap::api
