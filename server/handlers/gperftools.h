// What gperftools' pprof ("google-pprof" in Debian) asks for by URL, in its own formats: /pprof/heap, growth and contention are
// here, profile is in cpu_profile.h, cmdline and symbol are those of /debug/pprof/.
//
//   google-pprof --text http://localhost:6060/pprof/heap
//
// No parameters. HEAD answers with the head alone. Without tcmalloc heap and growth are 501.
// Formats: gperftools, docs/pprof_remote_servers.html; encode/heap_text.h, encode/contention_text.h.
#ifndef FIBERSCOPE_SERVER_HANDLERS_GPERFTOOLS_H_
#define FIBERSCOPE_SERVER_HANDLERS_GPERFTOOLS_H_

#include <functional>

#include "absl/status/status.h"
#include "pprof/byte_sink.h"
#include "server/http/router.h"

namespace fiberscope::server {

// Text that `write` writes.
Handler MakeLegacyTextHandler(std::function<absl::Status(pprof::ByteSink&)> write);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_GPERFTOOLS_H_
