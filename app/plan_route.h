// POST /neap/v1/plan?project=P&milliseconds=N with a TrainingJob or InferenceService: where it would run and
// what it would cost (ControlLoop::what_if). POST or GET /neap/v1/plan/repack?project=P[&job=NAME]: the moves
// that would make room (ControlLoop::repack_plan). Nothing is written. Belongs to the loop's executor.
#pragma once

#include "neap/base/task.h"
#include "neap/controllers/controller.h"
#include "neap/io/http.h"
#include "project_right.h"

namespace neap::app {

Task<void> serve_plan(io::HttpExchange& exchange, const controllers::ControlLoop& loop, ProjectRight right);

}  // namespace neap::app
