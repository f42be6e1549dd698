// An HTTP/1.1 server for few clients and long answers, on threads of its own.
//
// One I/O thread ("dbg-io") runs the connections, each a coroutine; a few work threads ("dbg-work") run slow handlers, others
// ("dbg-timed", made on demand) those that wait for time to pass. So it answers when every other thread of the process is stuck,
// and a dump that takes a second delays no other request, nor does a profile over a minute.
//
// What it defends against: slow and silent clients (absolute deadlines), too many of them (a cap, with eviction of those that have
// not sent a request yet), large requests, requests under foreign names (host.h), readers that stall (reset), handlers that throw
// (500), and a process that runs out of file descriptors (back-off; one is kept in reserve).
//
// Knows nothing of profiles. Hides Beast.
#ifndef FIBERSCOPE_SERVER_HTTP_HTTP_SERVER_H_
#define FIBERSCOPE_SERVER_HTTP_HTTP_SERVER_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/http/router.h"

namespace fiberscope::server {

// DebugServerOptions explains them.
struct HttpServerOptions {
  std::string address = "127.0.0.1";
  uint16_t port = 0;
  std::vector<std::string> allowed_hosts = {};
  size_t max_connections = 256;
  std::chrono::milliseconds header_timeout{5'000};
  std::chrono::milliseconds body_timeout{10'000};
  std::chrono::milliseconds idle_timeout{30'000};
  std::chrono::milliseconds write_stall_timeout{20'000};
  std::chrono::milliseconds drain_timeout{2'000};
  int work_threads = 2;
  size_t work_queue = 8;
  int timed_threads = 8;  // made when first needed; no queue
};

// Limits that need no configuration.
inline constexpr size_t kMaxRequestLineBytes = 8 * 1024;   // 414 beyond
inline constexpr size_t kMaxHeaderBytes = 16 * 1024;       // 431 beyond
inline constexpr size_t kMaxHeaderFields = 100;            // 431 beyond
inline constexpr size_t kMaxPostBytes = 1024 * 1024;       // 413 beyond
inline constexpr size_t kMaxIgnoredBodyBytes = 8 * 1024;   // of a GET; 413 beyond

// Thread-safe. Resource.
class HttpServer {
 public:
  // kInvalidArgument: not an address. kAlreadyExists: in use. kPermissionDenied. kResourceExhausted: no thread, no descriptor.
  // kUnavailable: any other system error. The message names the address.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options, Router router);
  // Stops. Not on one of the server's own threads.
  ~HttpServer();

  // Numeric, with the real port; IPv6 in brackets.
  std::string address() const;
  uint16_t port() const;

  // Closes the listener, lets requests in progress finish for drain_timeout, then resets what is left, and joins the threads;
  // after that no thread and no descriptor of the server exists. Idempotent. Blocks the thread for drain_timeout and as long as a
  // handler that runs takes to notice: at its next Write(). On one of the server's own threads, in a handler, it starts all that
  // and returns at once; another thread must call it (or the destructor) for the joining.
  void Stop();

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_HTTP_SERVER_H_
