// Data: Dataset, DatasetVersion, DataPolicy.
#pragma once

#include "neap/api/meta.h"

namespace neap::api {

// Where the raw records of a dataset lie on a node of a site: a path below the agent's data root.
struct DataSource {
  std::string site, path;
  template <class V>
  static void describe(V& v) {
    v.field("site", &DataSource::site, "Site that holds this part.", kRequired);
    v.field("path", &DataSource::path, "Folder below the agent's data root.", kRequired);
  }
};
struct DatasetSpec {
  DataLevel level = DataLevel::kL1;
  std::string home, jurisdiction, format = "records+images";
  std::vector<DataSource> sources;
  std::string sovereignty;  // "" or "Strict"
  std::int64_t retentionDays = 0;
  template <class V>
  static void describe(V& v) {
    v.field("level", &DatasetSpec::level, "L1 core, L2 business or L3 public.", kRequired);
    v.field("home", &DatasetSpec::home, "Site or jurisdiction the data belongs to.");
    v.field("jurisdiction", &DatasetSpec::jurisdiction, "Whose law holds for it.", kRequired);
    v.field("format", &DatasetSpec::format, "records+images: records.jsonl and images.bin.");
    v.field("sources", &DatasetSpec::sources, "Where its parts lie.", FieldOptions{.list_map_key = "site"});
    v.field("sovereignty", &DatasetSpec::sovereignty, "Strict: nothing derived leaves.");
    v.field("retentionDays", &DatasetSpec::retentionDays, "Days versions are kept; 0 is for ever.");
  }
};
struct DatasetStatus {
  std::string latestVersion;
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("latestVersion", &DatasetStatus::latestVersion, "Newest DatasetVersion.");
    v.field("conditions", &DatasetStatus::conditions, "Claims about the dataset.",
            FieldOptions{.list_map_key = "type"});
  }
};

struct DatasetPart {
  std::string site;
  std::vector<ArtifactRef> files;
  std::int64_t records = 0, recordsMasked = 0, recordsKeptHome = 0, identifiersMasked = 0;
  Bytes bytesRaw, bytesSent;
  template <class V>
  static void describe(V& v) {
    v.field("site", &DatasetPart::site, "Site the part came from.", kRequired);
    v.field("files", &DatasetPart::files, "Blobs of the part.", FieldOptions{.list_map_key = "name"});
    v.field("records", &DatasetPart::records, "Records in the part.");
    v.field("recordsMasked", &DatasetPart::recordsMasked, "Records in which something was masked.");
    v.field("recordsKeptHome", &DatasetPart::recordsKeptHome, "L1 records that did not leave in any form.");
    v.field("identifiersMasked", &DatasetPart::identifiersMasked, "Identifiers replaced.");
    v.field("bytesRaw", &DatasetPart::bytesRaw, "Bytes of the raw records read.");
    v.field("bytesSent", &DatasetPart::bytesSent, "Bytes that left, compressed and encrypted.");
  }
};
struct DatasetVersionSpec {
  std::string dataset;
  DataLevel level = DataLevel::kL1;
  std::string declassification;  // rule that lowered the level, empty when none did
  std::string digest;            // over the sorted list of file digests
  std::vector<DatasetPart> parts;
  std::vector<std::string> storedAt;  // sites
  template <class V>
  static void describe(V& v) {
    v.field("dataset", &DatasetVersionSpec::dataset, "Dataset it is a version of.", kImmutable);
    v.field("level", &DatasetVersionSpec::level, "Level of this version.", kImmutable);
    v.field("declassification", &DatasetVersionSpec::declassification, "Named rule that lowered the level.",
            FieldOptions{.immutable = true});
    v.field("digest", &DatasetVersionSpec::digest, "Digest over all file digests.",
            FieldOptions{.immutable = true});
    v.field("parts", &DatasetVersionSpec::parts, "Parts by site.",
            FieldOptions{.immutable = true, .list_map_key = "site"});
    v.field("storedAt", &DatasetVersionSpec::storedAt, "Sites that hold the bytes.");
  }
};
struct DatasetVersionStatus {
  std::vector<Condition> conditions;
  template <class V>
  static void describe(V& v) {
    v.field("conditions", &DatasetVersionStatus::conditions, "Claims about the version.",
            FieldOptions{.list_map_key = "type"});
  }
};

struct DataRule {
  std::string name;
  DataLevel level = DataLevel::kL2;
  std::vector<std::string> fromSites, toSites, toTiers, toJurisdictions, purposes;
  std::string effect = "deny";  // allow, deny or strict
  std::string declassify;       // rule name that makes a lower level first
  template <class V>
  static void describe(V& v) {
    v.field("name", &DataRule::name, "Shown in audit and explanations.", kRequired);
    v.field("level", &DataRule::level, "Level the rule is about.", kRequired);
    v.field("fromSites", &DataRule::fromSites, "Source sites; empty is any.");
    v.field("toSites", &DataRule::toSites, "Destination sites; empty is any.");
    v.field("toTiers", &DataRule::toTiers, "Destination tiers; empty is any.");
    v.field("toJurisdictions", &DataRule::toJurisdictions, "Destination jurisdictions; empty is any.");
    v.field("purposes", &DataRule::purposes, "train, infer, store; empty is any.");
    v.field("effect", &DataRule::effect,
            "allow, deny, or strict: nothing of any level leaves fromSites, asked before all other rules.",
            FieldOptions{.required = true, .pattern = "allow|deny|strict"});
    v.field("declassify", &DataRule::declassify,
            "Declassification that may make an L3 version: mask-identifiers-v1.");
  }
};
struct DataPolicySpec {
  std::vector<DataRule> rules;
  template <class V>
  static void describe(V& v) {
    v.field("rules", &DataPolicySpec::rules, "First match wins; L1 never leaves whatever they say.",
            FieldOptions{.required = true, .list_map_key = "name"});
  }
};
struct EmptyStatus {
  template <class V>
  static void describe(V&) {}
};

}  // namespace neap::api
