// What all derivations share: reading a document's metadata, resolving words, naming what is made.
#include "internal/derivation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "neap/policy/policy.h"

namespace neap::controllers {

std::string meta_text(const Json& document, std::string_view key) {
  const auto* metadata = find_path(document, {"metadata"});
  return metadata ? std::string(get_string(*metadata, key)) : std::string();
}

std::string annotation_of(const Json& document, std::string_view key) {
  const auto* annotations = find_path(document, {"metadata", "annotations"});
  return annotations ? std::string(get_string(*annotations, key)) : std::string();
}

api::ObjectMeta derived_meta(const Json& document, std::string name) {
  api::ObjectMeta out;
  out.name = std::move(name);
  out.namespace_ = meta_text(document, "namespace");
  if (const auto* labels = find_path(document, {"metadata", "labels"}); labels && labels->is_object())
    for (const auto& [key, value] : labels->get_object())
      if (value.is_string() && !std::string_view(key).starts_with("neap.dev/"))
        out.labels[key] = std::string(value.get_string());
  out.ownerReferences.push_back({.apiVersion = std::string(get_string(document, "apiVersion")),
                                 .kind = std::string(get_string(document, "kind")),
                                 .name = meta_text(document, "name"),
                                 .uid = meta_text(document, "uid"),
                                 .controller = true,
                                 .blockOwnerDeletion = true});
  return out;
}

std::vector<const api::Site*> resolve_sites(const ClusterState& state, std::string_view word, bool tiers) {
  struct Held {
    const api::Site* site;
    std::vector<std::pair<std::string, std::string>> labels;
  };
  std::vector<Held> held;
  for (const auto& [key, site] : state.all<api::Site>())
    held.push_back({&site, {site.metadata.labels.begin(), site.metadata.labels.end()}});
  std::vector<policy::SiteFacts> facts;
  for (const auto& [site, labels] : held) {
    const auto tier = site->spec.tier == api::Tier::kEdge      ? policy::Tier::kEdge
                      : site->spec.tier == api::Tier::kPrivate ? policy::Tier::kPrivate
                                                               : policy::Tier::kPublic;
    facts.push_back(
        {.name = site->metadata.name, .tier = tier, .aliases = site->spec.aliases, .labels = labels});
  }
  const auto target = policy::resolve_target(word, facts);
  std::vector<const api::Site*> out;
  using Meaning = policy::TargetMeaning;
  if (target.meaning == Meaning::kAnything || (target.meaning == Meaning::kTierWord && !tiers)) return out;
  for (std::size_t i = 0; i < held.size(); ++i)
    if (target.sites[i]) out.push_back(held[i].site);
  return out;
}

Result<std::vector<std::string>> site_names(const ClusterState& state, std::string_view word, bool tiers,
                                            std::string_view field) {
  std::vector<std::string> out;
  for (const auto* site : resolve_sites(state, word, tiers)) out.push_back(site->metadata.name);
  if (!out.empty()) return out;
  std::vector<std::string> known;
  for (const auto& [key, site] : state.all<api::Site>()) known.push_back(key.name);
  return fail(
      Code::kNotFound, "SiteUnknown",
      fmt::format("{} is \"{}\", and no site has that name, alias or label; sites are {}; give one of them "
                  "the alias (spec.aliases) or change the document",
                  field, word, known.empty() ? "(none yet)" : fmt::format("{}", fmt::join(known, ", "))));
}

const api::ModelVersion* newest_version(const ClusterState& state, const std::string& ns,
                                        const std::string& model) {
  const api::ModelVersion* newest = nullptr;
  for (const auto& [key, version] : state.all<api::ModelVersion>()) {
    if (key.namespace_ != ns || version.spec.model != model || version.metadata.deletionTimestamp) continue;
    // Names grow within one second's registrations: m-g1-v1, m-g1-v2.
    if (!newest || std::pair(newest->metadata.creationTimestamp, newest->metadata.name) <
                       std::pair(version.metadata.creationTimestamp, version.metadata.name))
      newest = &version;
  }
  return newest;
}

bool is_template(const api::DeploymentStrategy& strategy) {
  for (const auto mark : {kTemplateMark, kDefaultTemplateLabel})
    if (const auto it = strategy.metadata.labels.find(std::string(mark));
        it != strategy.metadata.labels.end() && it->second == "true")
      return true;
  return false;
}

}  // namespace neap::controllers
