// What work causes in CO2: an estimate from what it holds, at full power, and from the place's intensity.
//
// Pure functions; threads: none shared. Limits: power is the data sheets' (TDP), not a measurement, without
// cooling and networks; equal for all work on the same devices.
#pragma once

#include "neap/finops/price_book.h"

namespace neap::scheduler {

// Watts of accelerators (by the model's name; 300 each where it is not known) and cores (5 each); memory is
// in the cores'.
double power_watts(const finops::ResourceAmounts& held);

// Grams of CO2 equivalent an hour; `intensity` in grams per kWh.
double carbon_grams_per_hour(const finops::ResourceAmounts& held, double intensity);

// 0..100, 50 at 400 g/kWh (about the world's mean); 0 where the intensity is unknown (0), so that nobody
// gains by not telling.
double carbon_score(double intensity);

}  // namespace neap::scheduler
