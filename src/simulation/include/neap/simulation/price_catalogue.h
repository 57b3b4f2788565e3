// A public price catalogue in SkyPilot's CSV format as rates of one site.
//
// A catalogue prices whole machines; a bill here is by cores, memory and accelerators. A machine with
// accelerators is charged to them: the cheapest price over count of the region for each model, cores and
// memory then cost nothing more. Rows of an accelerator alone (Google: no InstanceType) are what the
// accelerator adds; the cheapest machine of the family it goes on (A100: a2-, H100 and H200: a3-, L4: g2-,
// else n1-) gives the price of a core. Without any accelerator, the cheapest price over vCPUs prices the
// core. Zeros and empty fields mean unknown, never free.
//
// Threads: pure. Source of the format: docs of SkyPilot's service catalogue.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "neap/base/result.h"
#include "neap/finops/price_book.h"

namespace neap::simulation {

struct CatalogueChoice {
  std::string region;
  std::string zone;  // empty: any
  std::map<std::string, std::string>
      models;  // the catalogue's name to ours; else "nvidia-" and small letters
};
struct CatalogueRates {
  finops::Rates on_demand, spot;
};

// `simulation.csv` with file and line; `simulation.catalogue` where the region has no price at all.
Result<CatalogueRates> read_catalogue(std::string_view text, std::string_view name,
                                      const CatalogueChoice& choice);

}  // namespace neap::simulation
