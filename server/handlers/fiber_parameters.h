// The parameters by which a request chooses fibers, the same for every profile of fibers:
//
//   state    runnable, running, syscall or waiting
//   reason   why it waits, as the dump prints it: "chan receive"
//   minwait  has waited, or been in a syscall, at least so long: a duration as Go writes it (90s, 5m, 1h30m), or seconds (90, 1.5)
//   label    KEY:VALUE, up to the first colon the key; may repeat. A fiber's name is its label "name", as in the dump
//   fn       a regular expression (RE2) that matches the name of a function on its stack, as pprof or as the texts print it
//   tags     debug=0 only: what else tells samples apart, as labels of theirs; one or more of state, wait, creator, id, with commas
//   limit    debug=2 only: at most so many, 1 to 10000, in the order of their ids
//   after    with limit only: from those with greater ids
//
// A fiber must pass all that are given. An empty value is as good as none. Of these only label may repeat.
#ifndef FIBERSCOPE_SERVER_HANDLERS_FIBER_PARAMETERS_H_
#define FIBERSCOPE_SERVER_HANDLERS_FIBER_PARAMETERS_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pprof/fiber_filter.h"
#include "pprof/fiber_groups.h"
#include "pprof/fiber_page.h"
#include "server/http/query.h"

namespace fiberscope::server {

struct FiberParameters {
  pprof::FiberFilter filter;
  pprof::FiberTags tags;
  std::optional<pprof::FiberPageOptions> page;
};

// `debug`: the form asked for. kInvalidArgument, naming the parameter and what it may be, never what it was.
absl::StatusOr<FiberParameters> ParseFiberParameters(const Query& query, int debug);

// For profiles that are not of fibers: kInvalidArgument, naming the parameter, when one of them is given after all.
absl::Status RefuseFiberParameters(const Query& query);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_FIBER_PARAMETERS_H_
