#include "neap/finops/price_book.h"

#include <fmt/format.h>

#include <array>
#include <limits>

namespace neap::finops {
namespace {

constexpr std::array<std::string_view, 4> kNames{"owned", "reserved", "on-demand", "spot"};
constexpr std::int64_t kGiB = std::int64_t(1) << 30;

std::unexpected<Error> overflow() {
  return fail(Code::kOutOfRange, "price.overflow",
              "an amount of money does not fit 63 bits; check quantity and price");
}
std::unexpected<Error> bad(std::string_view what) {
  return fail(Code::kInvalidArgument, "price.book.invalid",
              fmt::format("the price book is not usable: {}", what));
}

}  // namespace

std::string_view capacity_type_name(CapacityType type) { return kNames[std::size_t(type)]; }
std::optional<CapacityType> parse_capacity_type(std::string_view text) {
  for (std::size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == text) return CapacityType(i);
  return {};
}

Result<std::int64_t> multiply_divide(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t divisor) {
  if (a < 0 || b < 0 || c < 0 || divisor <= 0)
    return fail(Code::kInvalidArgument, "price.negative",
                "quantities and prices are never negative; correct the input");
  unsigned __int128 product = 0;
  if (__builtin_mul_overflow((unsigned __int128)(a), (unsigned __int128)(b), &product) ||
      __builtin_mul_overflow(product, (unsigned __int128)(c), &product))
    return overflow();
  const auto by = (unsigned __int128)(divisor);
  unsigned __int128 quotient = product / by;
  const unsigned __int128 twice = (product % by) * 2;
  if (twice > by || (twice == by && (quotient & 1) != 0)) ++quotient;
  if (quotient > (unsigned __int128)(std::numeric_limits<std::int64_t>::max())) return overflow();
  return std::int64_t(quotient);
}

Result<MoneyMicros> parse_money(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return fail(
        Code::kInvalidArgument, "price.money.format",
        fmt::format("\"{}\" is not an amount ({}); write digits with at most six decimals, like 0.0315", text,
                    why));
  };
  if (text.empty() || text.size() > 32) return refuse("empty or too long");
  std::int64_t value = 0;
  int decimals = -1;
  bool digit = false;
  for (const char c : text) {
    if (c == '.' && decimals < 0) {
      decimals = 0;
      continue;
    }
    if (c < '0' || c > '9') return refuse("not a digit");
    if (decimals >= 0 && ++decimals > 6) return refuse("more than six decimals");
    if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, c - '0', &value))
      return refuse("too large");
    digit = true;
  }
  if (!digit) return refuse("no digits");
  for (int i = decimals < 0 ? 0 : decimals; i < 6; ++i)
    if (__builtin_mul_overflow(value, 10, &value)) return refuse("too large");
  return MoneyMicros{value};
}

void PriceBook::set_rates(std::string site, CapacityType type, Rates rates) {
  rates_[{std::move(site), type}] = std::move(rates);
}
void PriceBook::set_egress(std::string from, std::string to, MoneyMicros per_gb) {
  egress_[{std::move(from), std::move(to)}] = per_gb;
}
void PriceBook::set_storage(std::string site, MoneyMicros per_gib_month) {
  storage_[std::move(site)] = per_gib_month;
}

const Rates* PriceBook::find_rates(std::string_view site, CapacityType type) const {
  const auto found = rates_.find({std::string(site), type});
  return found == rates_.end() ? nullptr : &found->second;
}
std::optional<MoneyMicros> PriceBook::find_egress(std::string_view from, std::string_view to) const {
  if (from == to) return MoneyMicros{};
  auto found = egress_.find({std::string(from), std::string(to)});
  if (found == egress_.end()) found = egress_.find({std::string(from), std::string()});
  if (found == egress_.end()) return {};
  return found->second;
}
std::optional<MoneyMicros> PriceBook::find_storage(std::string_view site) const {
  const auto found = storage_.find(site);
  if (found == storage_.end()) return {};
  return found->second;
}

Result<MoneyMicros> PriceBook::compute_hourly(std::string_view site, CapacityType type,
                                              const ResourceAmounts& amounts) const {
  const auto* rates = find_rates(site, type);
  if (!rates)
    return fail(Code::kNotFound, "price.rates.unknown",
                fmt::format("there is no price for {} capacity at {}; add it to the price book",
                            capacity_type_name(type), site));
  NEAP_TRY(auto total, multiply_divide(amounts.cores.value, rates->per_core_hour.value, 1, 1000));
  NEAP_TRY(const auto memory, multiply_divide(amounts.memory.value, rates->per_gib_hour.value, 1, kGiB));
  if (__builtin_add_overflow(total, memory, &total)) return overflow();
  if (amounts.accelerators.value > 0) {
    const auto price = rates->per_accelerator_hour.find(amounts.accelerator_model);
    if (price == rates->per_accelerator_hour.end())
      return fail(Code::kNotFound, "price.accelerator.unknown",
                  fmt::format("there is no price for {} as {} capacity at {}; add it to the price book",
                              amounts.accelerator_model, capacity_type_name(type), site));
    NEAP_TRY(const auto accelerators,
             multiply_divide(amounts.accelerators.value, price->second.value, 1, 1000));
    if (__builtin_add_overflow(total, accelerators, &total)) return overflow();
  }
  return MoneyMicros{total};
}

namespace {

Result<Rates> parse_rates(const Json& document, std::string_view where) {
  Rates rates;
  if (!document.is_object()) return bad(fmt::format("{} is not an object", where));
  for (const auto& member : document.get_object()) {
    const std::string_view key(member.key());
    if (key == "accelerators" && member.value().is_object()) {
      for (const auto& model : member.value().get_object()) {
        if (!model.value().is_string()) return bad(fmt::format("{}: prices are decimal text", where));
        NEAP_TRY(rates.per_accelerator_hour[std::string(model.key())],
                 parse_money(model.value().get_string()));
      }
      continue;
    }
    if ((key != "core" && key != "gib") || !member.value().is_string())
      return bad(
          fmt::format("{}: \"{}\" is not one of core, gib (decimal text) or accelerators", where, key));
    NEAP_TRY((key == "core" ? rates.per_core_hour : rates.per_gib_hour),
             parse_money(member.value().get_string()));
  }
  return rates;
}

}  // namespace

Result<PriceBook> parse_price_book(const Json& document) {
  if (!document.is_object()) return bad("it is not an object");
  for (const auto& member : document.get_object()) {
    const std::string_view key(member.key());
    if (key != "currency" && key != "sites" && key != "egress" && key != "storage")
      return bad(fmt::format("unknown field \"{}\"", key));
  }
  PriceBook book{std::string(get_string(document, "currency", "USD"))};
  if (const auto* sites = find_path(document, {"sites"})) {
    if (!sites->is_object()) return bad("sites is not an object");
    for (const auto& site : sites->get_object()) {
      if (!site.value().is_object())
        return bad(fmt::format("sites.{} is not an object", std::string_view(site.key())));
      for (const auto& entry : site.value().get_object()) {
        const auto where =
            fmt::format("sites.{}.{}", std::string_view(site.key()), std::string_view(entry.key()));
        const auto type = parse_capacity_type(entry.key());
        if (!type)
          return bad(fmt::format("{} is no capacity type (owned, reserved, on-demand, spot)", where));
        NEAP_TRY(auto rates, parse_rates(entry.value(), where));
        book.set_rates(std::string(site.key()), *type, std::move(rates));
      }
    }
  }
  if (const auto* egress = find_path(document, {"egress"})) {
    if (!egress->is_array()) return bad("egress is not a list");
    for (const auto& row : egress->get_array()) {
      if (get_string(row, "from").empty()) return bad("an egress row has no \"from\"");
      NEAP_TRY(const auto price, parse_money(get_string(row, "perGB")));
      book.set_egress(std::string(get_string(row, "from")), std::string(get_string(row, "to")), price);
    }
  }
  if (const auto* storage = find_path(document, {"storage"})) {
    if (!storage->is_object()) return bad("storage is not an object");
    for (const auto& row : storage->get_object()) {
      if (!row.value().is_string()) return bad("storage prices are decimal text");
      NEAP_TRY(const auto price, parse_money(row.value().get_string()));
      book.set_storage(std::string(row.key()), price);
    }
  }
  return book;
}

}  // namespace neap::finops
