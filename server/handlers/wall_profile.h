// GET /debug/pprof/wall, and /debug/fgprof, the same: where all fibers spend the next seconds, running or waiting
// (pprof/sources/wall.h).
//
//   seconds  1 to 300, 30 by default
//   hz       looks per second, 1 to 1000, 99 by default; there are fewer when they take long, and the profile says how many
//   format   pprof (default): gzip'ed profile.proto. folded: "root;...;leaf COUNT" per line, for flamegraph.pl
//
// The head goes out at once, the profile at the end. A client that leaves ends it. Several may be taken at once. HEAD takes none.
// Other parameters are ignored. Format: github.com/felixge/fgprof, Handler, but for hz and the 400 for a parameter that cannot be
// read.
#ifndef FIBERSCOPE_SERVER_HANDLERS_WALL_PROFILE_H_
#define FIBERSCOPE_SERVER_HANDLERS_WALL_PROFILE_H_

#include "pprof/sources/wall.h"
#include "pprof/symbolizer.h"
#include "server/http/router.h"

namespace fiberscope::server {

// Of a route that is timed for every request. `symbolizer` must outlive the handler.
Handler MakeWallProfileHandler(pprof::Symbolizer& symbolizer, pprof::WallInputs inputs = pprof::ProcessWallInputs());

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_WALL_PROFILE_H_
