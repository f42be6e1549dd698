// What changed between two profiles of the same kind: seconds= on profiles that are snapshots.
#ifndef FIBERSCOPE_PPROF_PROFILE_DELTA_H_
#define FIBERSCOPE_PPROF_PROFILE_DELTA_H_

#include "pprof/profile.h"

namespace fiberscope::pprof {

// `after` minus `before`. Samples are the same when their addresses and labels are; every value is subtracted, those of what is in
// use too, so that they can become negative: then a comment says so. Samples of which nothing is left are left out, and with them
// the strings, functions and locations that no other sample needs; all mappings of `after` stay, in their order.
//
// Of the moment of `after`, over the time between the two. Names and lines of an address are those of `after`, which may know more.
// Default sample type and comments are those of `after`.
//
// Both must have the same sample types. Pure. Cost: ~1 us per sample ten deep.
//
// Go: net/http/pprof (collectProfile, profile deltas), which loses the default sample type and does not speak of negative values.
Profile ProfileDelta(const Profile& before, const Profile& after);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_PROFILE_DELTA_H_
