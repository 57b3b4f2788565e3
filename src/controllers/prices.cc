#include "neap/controllers/prices.h"

namespace neap::controllers {

finops::CapacityType to_finops(api::CapacityType type) {
  switch (type) {
    case api::CapacityType::kOwned:
      return finops::CapacityType::kOwned;
    case api::CapacityType::kReserved:
      return finops::CapacityType::kReserved;
    case api::CapacityType::kOnDemand:
      return finops::CapacityType::kOnDemand;
    case api::CapacityType::kSpot:
      return finops::CapacityType::kSpot;
  }
  return finops::CapacityType::kOwned;
}

finops::PriceBook price_book_of(const ClusterState& state) {
  std::string currency = "USD";
  if (const auto& sites = state.all<api::Site>(); !sites.empty())
    currency = sites.begin()->second.spec.currency;
  finops::PriceBook book(currency);
  for (const auto& [key, site] : state.all<api::Site>())
    for (const auto& price : site.spec.prices) {
      finops::Rates rates;
      rates.per_core_hour = price.perCoreHour;
      rates.per_gib_hour = price.perGiBHour;
      for (const auto& [model, amount] : price.perAcceleratorHour) rates.per_accelerator_hour[model] = amount;
      book.set_rates(site.metadata.name, to_finops(price.capacityType), std::move(rates));
    }
  for (const auto& [key, link] : state.all<api::Link>())
    book.set_egress(link.spec.from, link.spec.to, link.spec.egressPerGB);
  return book;
}

}  // namespace neap::controllers
