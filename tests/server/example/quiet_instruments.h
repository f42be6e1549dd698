// Instruments for tests of the demo's services: a log that writes nothing, and the rest to look at.
#ifndef FIBERSCOPE_TESTS_SERVER_EXAMPLE_QUIET_INSTRUMENTS_H_
#define FIBERSCOPE_TESTS_SERVER_EXAMPLE_QUIET_INSTRUMENTS_H_

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <spdlog/sinks/null_sink.h>

#include <memory>
#include <string>

#include "server/example/instruments.h"
#include "server/log/log.h"
#include "server/requests/request_registry.h"
#include "server/vars/var_registry.h"

namespace demo {

// Thread-safe.
struct QuietInstruments {
  std::unique_ptr<fiberscope::log::Log> log =
      *fiberscope::log::Log::Start({.sinks = {std::make_shared<spdlog::sinks::null_sink_st>()}});
  fiberscope::server::RequestRegistry requests;
  prometheus::Registry metrics;
  fiberscope::server::VarRegistry vars;

  Instruments all() { return {.log = *log, .requests = requests, .metrics = metrics, .vars = vars}; }
  std::string MetricsText() const { return prometheus::TextSerializer().Serialize(metrics.Collect()); }
};

}  // namespace demo

#endif  // FIBERSCOPE_TESTS_SERVER_EXAMPLE_QUIET_INSTRUMENTS_H_
