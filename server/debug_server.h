// The debug server: one object that makes a running process answer curl, go tool pprof and a browser.
//
//   fiberscope::server::DebugServerOptions options;
//   options.port = 6060;
//   auto server = fiberscope::server::DebugServer::Start(options);
//   if (!server.ok()) { std::cerr << server.status().message() << "\n"; return 1; }
//   std::cerr << "debug server on http://" << (*server)->address() << "/debug/pprof/\n";
//   ...
//   (*server)->Stop();   // or let the destructor do it
//
// It runs on threads and an io_context of its own, so it answers when every worker of the application is wedged, and it
// works in a process that has no fiber at all.
#ifndef FIBERSCOPE_SERVER_DEBUG_SERVER_H_
#define FIBERSCOPE_SERVER_DEBUG_SERVER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "pprof/profile_catalog.h"
#include "runtime/flight_recorder.h"
#include "server/requests/request_registry.h"
#include "server/vars/var_registry.h"
#include "server/watch/health_watch.h"

namespace prometheus {
class Collectable;
}

namespace fiberscope::log {
class Levels;
}

namespace fiberscope::server {

struct DebugServerOptions {
  // Where to listen: an IPv4 or IPv6 address. Not a name: nothing is resolved. Anything but a loopback address is refused
  // unless allow_insecure_remote is set, because there is no authentication yet.
  std::string address = "127.0.0.1";
  uint16_t port = 6060;  // 0: the system chooses, see DebugServer::address()
  bool allow_insecure_remote = false;

  // Host header values to accept besides loopback names with our port, e.g. "debug.example.com:6060".
  std::vector<std::string> allowed_hosts = {};

  // At the limit a new client takes the place of one that waits: of one that has not sent a whole request header yet, else of the
  // one that has been idle longest. If all are being answered the new one gets 503.
  size_t max_connections = 256;

  // All from 1 ms to 24 h. The first two are absolute: a client that sends a byte now and then does not extend them.
  std::chrono::milliseconds header_timeout{5'000};  // from the connection, or a later request's first byte, to the header's end
  std::chrono::milliseconds body_timeout{10'000};
  std::chrono::milliseconds idle_timeout{30'000};         // between requests
  std::chrono::milliseconds write_stall_timeout{20'000};  // no byte of the answer got rid of for that long: reset
  // How long Stop() lets replies in flight finish before it resets their connections. Zero: not at all.
  std::chrono::milliseconds drain_timeout{2'000};

  // Dumps and symbol look-ups: how many run at once (1 to 64), and how many more may queue before 429.
  int dump_threads = 2;
  int dump_queue = 8;

  // Profiles to serve. Null: the built-in ones (allocs, block, goroutine, heap, mutex, threadcreate, threads) and those of
  // ProcessProfiles(), also when they are made later.
  std::shared_ptr<pprof::ProfileCatalog> catalog = nullptr;

  // What /debug/pprof/flightrecorder shows; must outlive the server. Null: it says that there is none.
  FlightRecorder* flight_recorder = nullptr;

  // What /debug/history shows, and /metrics of its thresholds; must outlive the server. Null: it says that there is none.
  const HealthWatch* health_watch = nullptr;

  // With the built-in profiles: Start() switches sampling of the heap on at this rate, in a program that allocates with tcmalloc
  // and has it off (pprof/sources/heap.h). What was allocated before is not in the profile. 0: leaves it off.
  int64_t heap_sample_rate = 512 * 1024;

  // Variables to show at /debug/vars. Start() publishes those that every process has (vars/process_vars.h), but for names that are
  // taken. Null: a registry of the server's own, see DebugServer::vars().
  std::shared_ptr<VarRegistry> vars = nullptr;

  // Metrics of the application's own for /metrics, besides those of Fiberscope: a prometheus::Registry, to which families may be
  // added at any time, or any other Collectable. What cannot be shown is left out and counted (metrics/metrics_page.h). They are
  // asked on the server's threads, at each scrape.
  std::vector<std::shared_ptr<const prometheus::Collectable>> metrics = {};

  // What /debug/log/level shows and sets: Log::levels(). Must outlive the server. Null: there is no such page.
  log::Levels* log_levels = nullptr;

  // The application's requests: for /debug/requests, and on /metrics as http_server_*. Null: there is no such page.
  std::shared_ptr<RequestRegistry> requests = nullptr;
};

// Thread-safe. Resource: neither copied nor moved.
class DebugServer {
 public:
  // Binds, listens and starts the threads. Errors name what was attempted: kInvalidArgument for a bad address,
  // kFailedPrecondition for a refused remote one, kAlreadyExists when the port is in use, kPermissionDenied,
  // kResourceExhausted when no thread could be made. Nothing is left behind on error.
  static absl::StatusOr<std::unique_ptr<DebugServer>> Start(DebugServerOptions options);

  // Stops, if Stop() was not called. Not in a handler.
  ~DebugServer();

  // "127.0.0.1:6060", with the real port.
  const std::string& address() const;
  uint16_t port() const;

  // What /debug/vars shows, to publish in at any time. Lives as long as the server; longer, if it was given to it.
  VarRegistry& vars();

  // Closes the listener, lets replies in flight finish for drain_timeout, resets the rest, joins the threads; after that no thread
  // and no descriptor of the server is left. Idempotent; may be called from any thread. Blocks the thread for drain_timeout at
  // most, and for as long as a profile that is being collected takes. From a handler (of a profile's source, say) it only begins
  // all that and returns at once.
  void Stop();

 private:
  class Impl;
  explicit DebugServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_DEBUG_SERVER_H_
