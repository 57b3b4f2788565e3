// Jobs of costStrategy PrivateFirst: which waiting ones burst into public capacity now, and which running
// ones come home.
//
// 1. A job waits for private capacity while its forecast start, what it waited included, is worth what it
//    would cost elsewhere (scheduler/burst.h); a job that no private node would take does not wait.
// 2. One that runs on public capacity comes home where it has a durable checkpoint, the private place is free
//    and none of the waiting ones fits, it costs less there, and enough is left to save; the place is held
//    for it while it moves. Nothing that runs privately is sent away, so a job goes out and home once at
//    most, but for interruptions.
// Belongs to the loop's executor.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "internal/reconciler.h"

namespace neap::controllers {

class DriftTable {
 public:
  // Nothing where no job asks for it.
  void plan(const Pass& pass);

  // Why a waiting job stays with private capacity; null where it may go anywhere.
  const std::string* find_wait(const api::TrainingJob& job) const;
  // Why a waiting job goes out; null where it does not.
  const std::string* find_burst(const api::TrainingJob& job) const;
  struct Home {
    std::vector<std::string> nodes;
    std::string site, why;
  };
  // Where a running job goes on instead; null where it stays.
  const Home* find_home(const api::TrainingJob& job) const;
  std::vector<ObjectKey> leaving() const;

 private:
  struct Round;
  std::map<ObjectKey, std::string> waits_, bursts_;
  std::map<ObjectKey, Home> homes_;
  std::optional<WallTime> looked_;
};

}  // namespace neap::controllers
