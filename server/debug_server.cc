#include "server/debug_server.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "absl/strings/str_format.h"
#include "pprof/encode/go_quote.h"
#include "pprof/sources/contention.h"
#include "pprof/sources/goroutine.h"
#include "pprof/sources/heap.h"
#include "pprof/sources/threadcreate.h"
#include "pprof/sources/threads.h"
#include "pprof/symbolizer.h"
#include "server/endpoints.h"
#include "server/handlers/history.h"
#include "server/handlers/index.h"
#include "server/handlers/log_level.h"
#include "server/handlers/metrics.h"
#include "server/handlers/named_profile.h"
#include "server/handlers/requests.h"
#include "server/handlers/vars.h"
#include "server/http/http_server.h"
#include "server/metrics/endpoint_times.h"
#include "server/metrics/metrics_page.h"
#include "server/metrics/process_collector.h"
#include "server/metrics/runtime_collector.h"
#include "server/vars/process_vars.h"
#include "server/watch/health_collector.h"

namespace fiberscope::server {
namespace {

constexpr int kMaxDumpThreads = 64;
constexpr std::chrono::milliseconds kMinTimeout{1};
constexpr std::chrono::milliseconds kMaxTimeout = std::chrono::hours(24);  // far from any overflow
constexpr size_t kMaxQuotedBytes = 256;  // of somebody else's text in a message

absl::Status Prefixed(const absl::Status& status) {
  return absl::Status(status.code(), absl::StrFormat("debug server: %s", status.message()));
}

absl::Status CheckOptions(const DebugServerOptions& options) {
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(options.address, error);
  if (error) {
    return absl::InvalidArgumentError(absl::StrFormat("debug server: \"%s\" is not an IP address",
                                                      pprof::CutText(pprof::EscapeLine(options.address), kMaxQuotedBytes)));
  }
  if (!address.is_loopback() && !options.allow_insecure_remote) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "debug server: %s is not a loopback address, and there is no authentication: whoever reaches the port reads stacks, "
        "labels and arguments. Set allow_insecure_remote if that is meant",
        options.address));
  }
  if (options.dump_threads < 1 || options.dump_threads > kMaxDumpThreads || options.dump_queue < 0 ||
      options.max_connections < 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("debug server: dump_threads is %d (1 to %d), dump_queue %d (at least 0), max_connections %d (at least 1)",
                        options.dump_threads, kMaxDumpThreads, options.dump_queue, options.max_connections));
  }
  if (options.heap_sample_rate < 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("debug server: heap_sample_rate is %d bytes; 0 is off", options.heap_sample_rate));
  }
  const std::pair<const char*, std::chrono::milliseconds> timeouts[] = {
      {"header_timeout", options.header_timeout},
      {"body_timeout", options.body_timeout},
      {"idle_timeout", options.idle_timeout},
      {"write_stall_timeout", options.write_stall_timeout},
  };
  for (const auto& [name, timeout] : timeouts) {
    if (timeout < kMinTimeout || timeout > kMaxTimeout) {
      return absl::InvalidArgumentError(absl::StrFormat("debug server: %s is not between 1 ms and 24 h", name));
    }
  }
  if (std::ranges::find(options.metrics, nullptr) != options.metrics.end()) {
    return absl::InvalidArgumentError("debug server: one of the metrics is null");
  }
  if (options.drain_timeout < std::chrono::milliseconds(0) || options.drain_timeout > kMaxTimeout) {
    return absl::InvalidArgumentError("debug server: drain_timeout is not between 0 and 24 h");
  }
  return absl::OkStatus();
}

}  // namespace

class DebugServer::Impl {
 public:
  absl::Status Start(DebugServerOptions options) {
    if (absl::Status status = CheckOptions(options); !status.ok()) return status;
    catalog_ = std::move(options.catalog);
    if (catalog_ == nullptr) {
      catalog_ = std::make_shared<pprof::ProfileCatalog>(&pprof::ProcessProfiles());
      if (absl::Status status = AddProfiles(); !status.ok()) return status;
      // Without tcmalloc the profiles say so.
      if (pprof::HeapSampleRate() == 0) pprof::SetHeapSampleRate(options.heap_sample_rate).IgnoreError();
    }
    vars_ = options.vars != nullptr ? std::move(options.vars) : std::make_shared<VarRegistry>();
    PublishProcessVars(*vars_);
    std::vector<Route> routes;
    std::vector<PseudoProfile> listed;
    for (Endpoint& endpoint : MakeEndpoints(*symbolizer_, options.flight_recorder)) {
      if (!endpoint.name.empty()) listed.push_back({endpoint.name, endpoint.description});
      routes.push_back(std::move(endpoint.route));
    }
    routes.push_back({.path = kPprofPrefix, .exact = true, .handler = MakeIndexHandler(*catalog_, std::move(listed))});
    // The subtree: every other name is a profile's, or nobody's.
    routes.push_back({.path = kPprofPrefix,
                      .slow = true,
                      .timed = &IsDeltaRequest,
                      .handler = MakeNamedProfileHandler(*catalog_, kPprofPrefix)});
    routes.push_back({.path = "/debug/vars", .slow = true, .handler = MakeVarsHandler(*vars_)});
    requests_ = std::move(options.requests);
    if (requests_ != nullptr) {
      options.metrics.insert(options.metrics.begin(), requests_);
      routes.push_back({.path = "/debug/requests", .slow = true, .handler = MakeRequestsHandler(*requests_)});
    }
    routes.push_back({.path = "/debug/history", .slow = true, .handler = MakeHistoryHandler(options.health_watch)});
    page_ = MakePage(options.health_watch, std::move(options.metrics));
    routes.push_back({.path = "/metrics", .slow = true, .handler = MakeMetricsHandler(*page_)});
    if (options.log_levels != nullptr) {
      routes.push_back({.path = "/debug/log/level", .put = true, .handler = MakeLogLevelHandler(*options.log_levels)});
    }
    for (Route& route : routes) {
      route.handler = times_->Timed(std::move(route.handler),
                                    [this, path = route.path](const Request& request) { return EndpointOf(path, request); });
    }
    HttpServerOptions http;
    http.address = options.address;
    http.port = options.port;
    http.allowed_hosts = std::move(options.allowed_hosts);
    http.max_connections = options.max_connections;
    http.header_timeout = options.header_timeout;
    http.body_timeout = options.body_timeout;
    http.idle_timeout = options.idle_timeout;
    http.write_stall_timeout = options.write_stall_timeout;
    http.drain_timeout = options.drain_timeout;
    http.work_threads = options.dump_threads;
    http.work_queue = static_cast<size_t>(options.dump_queue);
    absl::StatusOr<std::unique_ptr<HttpServer>> server = HttpServer::Start(http, Router(std::move(routes)));
    if (!server.ok()) return Prefixed(server.status());
    server_ = *std::move(server);
    address_ = server_->address();
    return absl::OkStatus();
  }

  const std::string& address() const { return address_; }
  uint16_t port() const { return server_->port(); }
  VarRegistry& vars() { return *vars_; }
  void Stop() { server_->Stop(); }

 private:
  // Of a profile its own path, if there is one of that name.
  std::string EndpointOf(const std::string& route_path, const Request& request) const {
    if (route_path != kPprofPrefix || request.path == kPprofPrefix) return route_path;
    const std::string name = request.path.substr(route_path.size());
    return route_path + (catalog_->Find(name) != nullptr ? name : "no such profile");
  }

  std::unique_ptr<MetricsPage> MakePage(const HealthWatch* health_watch,
                                        std::vector<std::shared_ptr<const prometheus::Collectable>> application) const {
    std::vector<std::shared_ptr<const prometheus::Collectable>> sources = {
        std::make_shared<RuntimeCollector>(), std::make_shared<ProcessCollector>(), times_};
    if (health_watch != nullptr) sources.push_back(std::make_shared<HealthCollector>(*health_watch));
    sources.insert(sources.end(), application.begin(), application.end());
    return std::make_unique<MetricsPage>(std::move(sources));
  }

  absl::Status AddProfiles() {
    std::unique_ptr<pprof::ProfileSource> sources[] = {
        pprof::MakeAllocsSource(*symbolizer_),
        pprof::MakeBlockSource(*symbolizer_),
        pprof::MakeGoroutineSource(*symbolizer_),
        pprof::MakeHeapSource(*symbolizer_),
        pprof::MakeMutexSource(*symbolizer_),
        pprof::MakeThreadCreateSource(*symbolizer_),
        pprof::MakeThreadsSource(*symbolizer_),
    };
    absl::Status status;
    for (std::unique_ptr<pprof::ProfileSource>& source : sources) status.Update(catalog_->Add(std::move(source)));
    return status;
  }

  std::unique_ptr<pprof::Symbolizer> symbolizer_ = pprof::MakeProcessSymbolizer();
  std::shared_ptr<pprof::ProfileCatalog> catalog_;
  std::shared_ptr<VarRegistry> vars_;
  std::shared_ptr<RequestRegistry> requests_;  // null: none
  const std::shared_ptr<EndpointTimes> times_ = std::make_shared<EndpointTimes>();
  std::unique_ptr<MetricsPage> page_;
  std::unique_ptr<HttpServer> server_;
  std::string address_;
};

absl::StatusOr<std::unique_ptr<DebugServer>> DebugServer::Start(DebugServerOptions options) {
  auto impl = std::make_unique<Impl>();
  if (absl::Status status = impl->Start(std::move(options)); !status.ok()) return status;
  return std::unique_ptr<DebugServer>(new DebugServer(std::move(impl)));
}

DebugServer::DebugServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DebugServer::~DebugServer() { Stop(); }
const std::string& DebugServer::address() const { return impl_->address(); }
uint16_t DebugServer::port() const { return impl_->port(); }
VarRegistry& DebugServer::vars() { return impl_->vars(); }
void DebugServer::Stop() { impl_->Stop(); }

}  // namespace fiberscope::server
