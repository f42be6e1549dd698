// The demo: a gateway and an order service on fibers, and the debug server that shows what they are doing.
//
//   demo --addr=127.0.0.1:6060 --load=200 --leak
#include <prometheus/registry.h>
#include <pthread.h>
#include <signal.h>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/flags/usage.h"
#include "absl/flags/usage_config.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "pprof/sources/heap.h"
#include "pprof/symbolizer.h"
#include "pprof/trace/trace_directory.h"
#include "runtime/contention.h"
#include "runtime/crash_dump.h"
#include "runtime/flight_recorder.h"
#include "runtime/registry.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "server/debug_server.h"
#include "server/example/gateway.h"
#include "server/example/instruments.h"
#include "server/example/load.h"
#include "server/example/order_log.h"
#include "server/example/order_service.h"
#include "server/log/log.h"
#include "server/metrics/log_collector.h"
#include "server/requests/request_registry.h"
#include "server/vars/log_vars.h"
#include "server/vars/var_registry.h"
#include "server/watch/health_watch.h"

ABSL_FLAG(std::string, addr, "127.0.0.1:6060", "where the debug server listens; port 0: the system chooses");
ABSL_FLAG(std::string, gateway_addr, "127.0.0.1:0", "where the gateway listens, which calls the order service");
ABSL_FLAG(std::string, service_addr, "127.0.0.1:0", "where the order service listens");
ABSL_FLAG(int, processors, 0, "how many fibers run at the same time; 0: one per CPU");
ABSL_FLAG(int, load, 0, "orders per second that the demo sends to its gateway");
ABSL_FLAG(bool, leak, false, "strand one fiber per 10th order on a channel that nobody reads");
ABSL_FLAG(int, park, 0, "fibers to park, ten calls deep");
ABSL_FLAG(bool, stall, false,
          "let one fiber call ::sleep(1), not marked as blocking, every 5 s; the monitor reports it on standard error");
ABSL_FLAG(bool, flight_recorder, false, "trace all the time and keep the last 10 s: /debug/pprof/flightrecorder");
ABSL_FLAG(std::string, flight_dir, "",
          "with a flight recorder, which it switches on: where its trace is saved when an order is slow or a fiber stalls");
ABSL_FLAG(int, slow_ms, 200, "milliseconds after which an order is slow");
ABSL_FLAG(int, slow_every, 0, "let one in so many orders take --slow_ms longer; 0: none");
ABSL_FLAG(int, error_every, 0, "let one in so many orders fail; 0: none");
ABSL_FLAG(std::string, log_level, "warn", "from which level on lines are logged, on standard error: debug, info, warn or error");
ABSL_FLAG(std::string, log_format, "console", "how: console or json");
ABSL_FLAG(int64_t, block_rate, 10'000, "nanoseconds of waiting per event of the block profile; 1: every wait, 0: off");
ABSL_FLAG(int64_t, mutex_fraction, 1, "one in so many contended unlocks is in the mutex profile; 0: off");
ABSL_FLAG(std::string, log_dir, "",
          "where the directory with the order log is made, which is removed at exit; empty: $TMPDIR, or /tmp");

namespace {

using tcp = boost::asio::ip::tcp;

struct HostAndPort {
  std::string host;
  uint16_t port = 0;
};

// "127.0.0.1:6060", "[::1]:6060" or ":6060".
std::optional<HostAndPort> ParseAddress(std::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const std::string_view digits = text.substr(colon + 1);
  HostAndPort result{std::string(host.empty() ? "127.0.0.1" : host), 0};
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), result.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return result;
}

uint64_t HeapBytes() {
  const auto stats = fiberscope::pprof::ReadHeapStats();
  return stats.ok() ? static_cast<uint64_t>(stats->allocated) : 0;
}

int Fail(const std::string& message) {
  std::fprintf(stderr, "demo: %s\n", message.c_str());
  return 1;
}

// "--flag=127.0.0.1:0", of which the system chooses the port.
absl::StatusOr<tcp::endpoint> ParseEndpoint(const char* flag, const std::string& text) {
  const std::optional<HostAndPort> parsed = ParseAddress(text);
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(parsed ? parsed->host : "", error);
  if (!parsed || error) return absl::InvalidArgumentError(absl::StrFormat("--%s=%s is not address:port", flag, text));
  return tcp::endpoint(address, parsed->port);
}

absl::StatusOr<fiberscope::log::LogOptions> ParseLogOptions() {
  fiberscope::log::LogOptions options;
  const std::string level_name = absl::GetFlag(FLAGS_log_level);
  const std::optional<fiberscope::log::Level> level = fiberscope::log::ParseLevel(level_name);
  if (!level) return absl::InvalidArgumentError(absl::StrFormat("--log_level=%s is not debug, info, warn or error", level_name));
  const std::string format = absl::GetFlag(FLAGS_log_format);
  if (format != "console" && format != "json") {
    return absl::InvalidArgumentError(absl::StrFormat("--log_format=%s is not console or json", format));
  }
  options.level = *level;
  options.encoding = format == "json" ? fiberscope::log::Encoding::kJson : fiberscope::log::Encoding::kConsole;
  options.sampling = {.first = 200, .thereafter = 100};  // a terminal can be read at 200 orders a second, and not at 20,000
  return options;
}

std::string Url(const tcp::endpoint& endpoint, const char* path) {
  const std::string host = endpoint.address().to_string();
  return absl::StrFormat(endpoint.address().is_v6() ? "http://[%s]:%d%s" : "http://%s:%d%s", host, endpoint.port(), path);
}

// Raised while --leak strands fibers, and when the CPUs are not enough for the load.
std::vector<fiberscope::server::Threshold> Thresholds() {
  return {{.name = "oldest channel send in seconds",
           .figure = fiberscope::server::OldestWaitFigure(fiberscope::WaitReason::kChannelSend),
           .bounds = {.raise_above = 10, .clear_below = 1}},
          {.name = "scheduling latency p99 in seconds",
           .figure = fiberscope::server::LatencyP99Figure(),
           .bounds = {.raise_above = 0.05, .raise_after = 5, .clear_below = 0.01, .clear_after = 5}}};
}

int Run() {
  const std::optional<HostAndPort> debug = ParseAddress(absl::GetFlag(FLAGS_addr));
  if (!debug) return Fail(absl::StrFormat("--addr=%s is not host:port", absl::GetFlag(FLAGS_addr)));
  const auto gateway_endpoint = ParseEndpoint("gateway_addr", absl::GetFlag(FLAGS_gateway_addr));
  if (!gateway_endpoint.ok()) return Fail(std::string(gateway_endpoint.status().message()));
  const auto service_endpoint = ParseEndpoint("service_addr", absl::GetFlag(FLAGS_service_addr));
  if (!service_endpoint.ok()) return Fail(std::string(service_endpoint.status().message()));
  const auto log_options = ParseLogOptions();
  if (!log_options.ok()) return Fail(std::string(log_options.status().message()));
  const int load = absl::GetFlag(FLAGS_load);
  const int park = absl::GetFlag(FLAGS_park);
  if (load < 0) return Fail(absl::StrFormat("--load=%d is negative", load));
  if (park < 0) return Fail(absl::StrFormat("--park=%d is negative", park));
  const int slow_ms = absl::GetFlag(FLAGS_slow_ms);
  const int slow_every = absl::GetFlag(FLAGS_slow_every);
  if (slow_ms < 1) return Fail(absl::StrFormat("--slow_ms=%d is less than 1", slow_ms));
  const int error_every = absl::GetFlag(FLAGS_error_every);
  if (error_every < 0) return Fail(absl::StrFormat("--error_every=%d is negative", error_every));
  if (slow_every < 0) return Fail(absl::StrFormat("--slow_every=%d is negative", slow_every));

  const char* const temporary = std::getenv("TMPDIR");
  const std::string log_dir = absl::GetFlag(FLAGS_log_dir);
  auto order_log = demo::OrderLog::Create(!log_dir.empty() ? log_dir : temporary != nullptr ? temporary : "/tmp");
  if (!order_log.ok()) return Fail(std::string(order_log.status().message()));
  const std::string order_log_path = order_log->path();

  // Before there are other threads, so that all of them leave these signals to main().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  fiberscope::InstallCrashDump({});
  fiberscope::SetBlockProfileRate(absl::GetFlag(FLAGS_block_rate));
  fiberscope::SetMutexProfileFraction(absl::GetFlag(FLAGS_mutex_fraction));

  const auto symbolizer = fiberscope::pprof::MakeProcessSymbolizer();
  const std::string flight_dir = absl::GetFlag(FLAGS_flight_dir);
  fiberscope::pprof::TraceDirectory snapshots({.path = flight_dir}, *symbolizer);
  std::unique_ptr<fiberscope::FlightRecorder> recorder;
  if (absl::GetFlag(FLAGS_flight_recorder) || !flight_dir.empty()) {
    fiberscope::FlightRecorderOptions flight;
    flight.slow_task = std::chrono::milliseconds(slow_ms);
    flight.heap_bytes = &HeapBytes;
    if (!flight_dir.empty()) flight.on_snapshot = snapshots.Saver();
    auto started = fiberscope::FlightRecorder::Start(flight);
    if (!started.ok()) return Fail(std::string(started.status().message()));
    recorder = *std::move(started);
  }

  const auto log = fiberscope::log::Log::Start(*log_options);
  if (!log.ok()) return Fail(std::string(log.status().message()));
  const auto requests = std::make_shared<fiberscope::server::RequestRegistry>();
  const auto metrics = std::make_shared<prometheus::Registry>();
  const auto vars = std::make_shared<fiberscope::server::VarRegistry>();

  fiberscope::server::PublishLogVars(*vars, **log).IgnoreError();  // nothing else is there yet

  auto watch = fiberscope::server::HealthWatch::Start({.thresholds = Thresholds()});
  if (!watch.ok()) return Fail(std::string(watch.status().message()));

  fiberscope::server::DebugServerOptions options;
  options.address = debug->host;
  options.port = debug->port;
  options.flight_recorder = recorder.get();
  options.log_levels = &(*log)->levels();
  options.requests = requests;
  options.metrics = {metrics, std::make_shared<fiberscope::server::LogCollector>(**log)};
  options.vars = vars;
  options.health_watch = watch->get();
  auto server = fiberscope::server::DebugServer::Start(options);
  if (!server.ok()) return Fail(std::string(server.status().message()));

  fiberscope::Channel<int> never(0, "never");
  fiberscope::Scheduler scheduler({.processors = absl::GetFlag(FLAGS_processors)});
  const demo::Instruments instruments = {.log = **log, .requests = *requests, .metrics = *metrics, .vars = *vars};
  demo::OrderService orders(scheduler, *std::move(order_log), instruments,
                            {.endpoint = *service_endpoint,
                             .leak = absl::GetFlag(FLAGS_leak),
                             .slow_every = static_cast<uint64_t>(slow_every),
                             .slow_by = std::chrono::milliseconds(slow_ms),
                             .error_every = static_cast<uint64_t>(error_every)});
  const auto orders_at = orders.Start();
  if (!orders_at.ok()) return Fail(std::string(orders_at.status().message()));
  demo::Gateway gateway(scheduler, instruments, {.endpoint = *gateway_endpoint, .orders = *orders_at});
  const auto gateway_at = gateway.Start();
  if (!gateway_at.ok()) return Fail(std::string(gateway_at.status().message()));
  const std::string checkout_url = Url(*gateway_at, "/checkout");
  if (load > 0) demo::SpawnClients(scheduler, *gateway_at, load);
  if (park > 0) demo::SpawnParkedFibers(scheduler, park, never);
  if (absl::GetFlag(FLAGS_stall)) demo::SpawnStall(scheduler);

  const std::string& address = (*server)->address();
  std::printf(
      "debug server on http://%s/debug/pprof/\n"
      "gateway on %s?item=apple&quantity=2\n"
      "order service on %s?item=apple&quantity=2\n"
      "order log in %s\n"
      "\n"
      "Try:\n"
      "  curl -s 'http://%s/debug/pprof/goroutine?debug=1' | head -30\n"
      "  curl -s 'http://%s/debug/pprof/goroutine?debug=2' | head -30\n"
      "  go tool pprof -top http://%s/debug/pprof/goroutine\n"
      "  curl -si '%s?item=apple&quantity=2'\n"
      "  curl -s 'http://%s/debug/requests'\n"
      "Stop with Ctrl-C; with Ctrl-\\ it shows all its fibers and ends.\n",
      address.c_str(), checkout_url.c_str(), Url(*orders_at, "/order").c_str(), order_log_path.c_str(), address.c_str(),
      address.c_str(), address.c_str(), checkout_url.c_str(), address.c_str());
  std::fflush(stdout);

  int signal = 0;
  sigwait(&signals, &signal);
  std::printf("\nstopping: %s, %llu orders, %lld fibers\n", strsignal(signal),
              static_cast<unsigned long long>(orders.requests()), static_cast<long long>(fiberscope::FiberCount()));
  (*server)->Stop();
  scheduler.Stop();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  absl::SetProgramUsageMessage("a small order service on fibers, and its debug server");
  // --help shows the flags of this file, whose name is not the program's.
  absl::FlagsUsageConfig usage;
  usage.contains_help_flags = [](absl::string_view file) { return absl::EndsWith(file, "server/main.cc"); };
  absl::SetFlagsUsageConfig(usage);
  absl::ParseCommandLine(argc, argv);
  try {
    return Run();
  } catch (const std::exception& exception) {
    return Fail(exception.what());
  }
}
