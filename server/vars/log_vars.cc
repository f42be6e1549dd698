#include "server/vars/log_vars.h"

#include <boost/json/object.hpp>

namespace fiberscope::server {

absl::Status PublishLogVars(VarRegistry& registry, const log::Log& log) {
  return registry.PublishFunc("log", [&log]() -> boost::json::value {
    const log::LogCounts counts = log.counts();
    return boost::json::object{
        {"level", log::LevelName(log.root().level())},
        {"written", counts.written},
        {"dropped", counts.dropped},
        {"sampled_out", counts.sampled_out},
        {"sink_errors", counts.sink_errors},
    };
  });
}

}  // namespace fiberscope::server
