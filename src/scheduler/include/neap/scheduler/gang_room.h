// Making room for a gang that waits, by letting running gangs go on elsewhere; nobody ends for it.
//
// Invariants of an answer: (1) whom `stays` holds does not move, nor who is of a higher priority than the
// waiting gang; (2) a gang goes on with as many members, at its own site and on its own kind of capacity, so
// no data crosses a border and no price changes; every guard of its own project was asked; (3) the place it
// goes to is free now, or its own, and no node of the waiting gang's: the moves may be made in any order, and
// at every moment each device, core and byte of memory is given once; (4) once all have moved, the waiting
// gang's place is free. The world is as before. Same inputs, same answer. Threads: none.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "neap/scheduler/scheduler.h"

namespace neap::scheduler {

// A gang that runs.
struct Tenant {
  RunningGang gang;  // `owner` is its name, once in a world
  Request request;   // what it asks for when it is placed
  // Why it stays where it is; empty: it may move.
  std::string stays;
};

struct RunningWorld {
  std::vector<Node> nodes;  // less what the tenants, and everybody else, hold
  // By project: rules, prices, limits; its nodes and running gangs are not read.
  std::map<std::string, Snapshot, std::less<>> projects;
  std::vector<Tenant> tenants;
};

struct Relocation {
  std::size_t tenant = 0;
  std::vector<Placement> to;
  // Device seconds that are done again.
  double lost_work = 0;
};

struct GangRoom {
  std::vector<Placement> places;  // of the waiting gang
  std::vector<Relocation> moves;
  double lost_work = 0;
};

struct GangRoomLimits {
  std::size_t moves_max = 8;
  // Device seconds, of all moves together.
  double lost_work_max = std::numeric_limits<double>::infinity();
  // Sets of tenants that are tried, the least lost work first; each costs a decision, and one for each move.
  int attempts_max = 24;
};

struct GangRoomAnswer {
  bool is_free_already = false;  // nobody has to move
  std::optional<GangRoom> room;
  std::string why;  // there is no room
  // Tenants that would have been in the way and have no other place, and why.
  std::map<std::size_t, std::string> stuck;
};

GangRoomAnswer plan_gang_room(RunningWorld& world, const Request& waiting, const GangRoomLimits& limits,
                              const Options& options);

}  // namespace neap::scheduler
