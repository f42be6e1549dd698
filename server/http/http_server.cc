#include "server/http/http_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cerrno>
#include <exception>
#include <list>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/check.h"
#include "server/http/session.h"

namespace fiberscope::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::chrono::milliseconds kMinAcceptBackoff{5};
constexpr std::chrono::milliseconds kMaxAcceptBackoff{1'000};
constexpr int kMaxAcceptBatch = 64;  // then the connections that exist have their turn

// Threads made while one exists leave signals to the application. Not those that a thread causes itself: blocked, they would end
// the process without any crash report. Not SIGPROF, so that a CPU profile shows these threads, too.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t set;
    sigfillset(&set);
    for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF}) sigdelset(&set, signal);
    pthread_sigmask(SIG_SETMASK, &set, &saved_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &saved_, nullptr); }

 private:
  sigset_t saved_;
};

std::string AddressText(const tcp::endpoint& endpoint) {
  const std::string ip = endpoint.address().to_string();
  return absl::StrFormat(endpoint.address().is_v6() ? "[%s]:%d" : "%s:%d", ip, endpoint.port());
}

absl::Status SystemError(const error_code& error, const std::string& what) {
  const std::string message = absl::StrFormat("%s: %s", what, error.message());
  switch (error.value()) {
    case EADDRINUSE: return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM: return absl::PermissionDeniedError(message);
    case EAGAIN:
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return absl::ResourceExhaustedError(message);
    default: return absl::UnavailableError(message);
  }
}

int OpenReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

// What the I/O thread runs. Made by Start(), gone when Stop() has joined the threads, and with it all descriptors.
struct Loop {
  ~Loop() {
    if (reserve >= 0) close(reserve);
  }

  asio::io_context io{1};
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(io);
  tcp::acceptor acceptor{io};
  asio::steady_timer pause{io};  // after a failed accept; while draining, until the reset
  std::list<std::shared_ptr<Session>> sessions;
  bool draining = false;
  int reserve = OpenReserve();  // a descriptor to give up when there are no others
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, Router router)
      : options_(options),
        router_(std::move(router)),
        pool_("dbg-work", options.work_threads, options.work_queue),
        timed_pool_("dbg-timed", options.timed_threads, 0) {}

  absl::Status Start() {
    error_code error;
    const asio::ip::address ip = asio::ip::make_address(options_.address, error);
    if (error) return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not an IP address", options_.address));
    const tcp::endpoint wanted(ip, options_.port);
    try {
      loop_ = std::make_unique<Loop>();
      // By hand, for close-on-exec from the first moment on.
      const int listener = socket(wanted.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (listener < 0) {
        error.assign(errno, boost::system::system_category());
      } else {
        loop_->acceptor.assign(wanted.protocol(), listener);
      }
    } catch (const boost::system::system_error& system_error) {
      error = system_error.code();  // epoll, eventfd or timerfd
    }
    if (!error) loop_->acceptor.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) loop_->acceptor.bind(wanted, error);
    if (!error) loop_->acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) endpoint_ = loop_->acceptor.local_endpoint(error);
    if (!error) loop_->acceptor.native_non_blocking(true, error);
    if (error) return SystemError(error, "listen on " + AddressText(wanted));
    hosts_ = std::make_unique<HostPolicy>(endpoint_.address().to_string(), endpoint_.port(), options_.allowed_hosts);
    context_ = std::make_unique<SessionContext>(SessionContext{options_, router_, *hosts_, pool_, timed_pool_});

    const BlockedSignals blocked;
    if (absl::Status status = pool_.Start(options_.work_threads); !status.ok()) return status;
    asio::co_spawn(loop_->io, Accept(), [](std::exception_ptr) {});
    try {
      thread_ = std::thread([this] { Run(); });
    } catch (const std::system_error& system_error) {
      pool_.Join();
      return SystemError(error_code(system_error.code()), "start of the I/O thread");
    }
    pthread_setname_np(thread_.native_handle(), "dbg-io");
    return absl::OkStatus();
  }

  const tcp::endpoint& endpoint() const { return endpoint_; }

  bool OnOwnThread() const {
    return std::this_thread::get_id() == io_thread_id_ || pool_.OnPoolThread() || timed_pool_.OnPoolThread();
  }

  void Stop() {
    if (OnOwnThread()) {
      // Whoever joins this thread destroys the loop only afterwards.
      RequestDrain();
      return;
    }
    const std::lock_guard lock(stop_mutex_);
    if (loop_ == nullptr) return;
    RequestDrain();
    pool_.Join();
    timed_pool_.Join();
    thread_.join();
    io_thread_id_ = std::thread::id();  // the system may use it again
    loop_.reset();
  }

 private:
  void RequestDrain() {
    asio::post(loop_->io, [this] { BeginDrain(); });
    pool_.Close();
    timed_pool_.Close();
  }

  void Run() {
    io_thread_id_ = std::this_thread::get_id();
    for (;;) {
      try {
        loop_->io.run();
        return;
      } catch (const std::exception&) {
        // Out of memory in a callback: that connection is lost, the others go on.
      }
    }
  }

  asio::awaitable<void> Accept() {
    std::chrono::milliseconds backoff = kMinAcceptBackoff;
    while (loop_->acceptor.is_open()) {
      error_code error;
      co_await loop_->acceptor.async_wait(asio::socket_base::wait_read, asio::redirect_error(asio::use_awaitable, error));
      if (!loop_->acceptor.is_open()) co_return;
      if (AcceptAll()) {
        backoff = kMinAcceptBackoff;
        continue;
      }
      loop_->pause.expires_after(backoff);
      co_await loop_->pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
      backoff = std::min(backoff * 2, kMaxAcceptBackoff);
    }
  }

  // Takes connections that wait. False when that needs what the system does not have, and trying again at once is no use.
  bool AcceptAll() {
    for (int taken = 0; taken < kMaxAcceptBatch; ++taken) {
      const int fd = accept4(loop_->acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0 && errno == EAGAIN) return true;
      if (fd < 0 && (errno == ECONNABORTED || errno == EINTR)) continue;
      if (fd < 0) {
        RefuseOne();
        return false;
      }
      if (loop_->reserve < 0) loop_->reserve = OpenReserve();
      tcp::socket socket(loop_->io);
      error_code error;
      socket.assign(endpoint_.protocol(), fd, error);
      if (error) {
        close(fd);
        return false;
      }
      try {
        Serve(std::move(socket));
      } catch (const std::exception&) {
        return false;  // no memory
      }
    }
    return true;
  }

  // Without a descriptor the connection would stay in the kernel's queue and make the next accept fail at once: with the one in
  // reserve takes it off the queue and closes it.
  void RefuseOne() {
    if (loop_->reserve >= 0) {
      close(loop_->reserve);
      const int refused = accept4(loop_->acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (refused >= 0) close(refused);
    }
    loop_->reserve = OpenReserve();
  }

  void Serve(tcp::socket socket) {
    auto& sessions = loop_->sessions;
    const auto open = std::ranges::count_if(sessions, [](const auto& session) { return !session->closed(); });
    if (static_cast<size_t>(open) >= options_.max_connections && !EvictOne()) {
      // Everybody is being answered. The client learns it by a reset at worst.
      ResponseStream stream({.keep_alive = false}, nullptr);
      stream.Send(ErrorResponse(503, "too many connections"));
      error_code ignored;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(stream.Take().wire), ignored);
      return;
    }
    const auto session = std::make_shared<Session>(std::move(socket), *context_);
    sessions.push_back(session);
    const auto at = std::prev(sessions.end());
    try {
      asio::co_spawn(loop_->io, session->Run(), [this, at](std::exception_ptr) {
        (*at)->Close();
        loop_->sessions.erase(at);
        if (loop_->draining && loop_->sessions.empty()) Finish();
      });
    } catch (...) {
      sessions.erase(at);
      throw;
    }
  }

  // Makes room: closes a connection that only waits for the client to go, else the oldest one that has not sent a whole request
  // header yet, else the one that has been idle longest. False when all are being answered. The session's coroutine ends a
  // moment later.
  bool EvictOne() {
    for (const Session::Phase phase : {Session::Phase::kClosing, Session::Phase::kReadingHeader, Session::Phase::kIdle}) {
      Session* oldest = nullptr;
      for (const auto& session : loop_->sessions) {
        if (session->phase() != phase || session->closed()) continue;
        if (oldest == nullptr || session->phase_start() < oldest->phase_start()) oldest = session.get();
      }
      if (oldest != nullptr) {
        oldest->Reset();
        return true;
      }
    }
    return false;
  }

  void BeginDrain() {
    if (std::exchange(loop_->draining, true)) return;
    context_->draining = true;
    error_code ignored;
    loop_->acceptor.close(ignored);
    loop_->pause.cancel();
    for (const auto& session : loop_->sessions) session->Drain();
    if (loop_->sessions.empty()) {
      Finish();
      return;
    }
    loop_->pause.expires_after(options_.drain_timeout);
    loop_->pause.async_wait([this](const error_code& error) {
      if (error) return;
      for (const auto& session : loop_->sessions) session->Reset();
    });
  }

  // The last connection is gone: let the I/O thread run out of work.
  void Finish() {
    loop_->pause.cancel();
    loop_->work.reset();
  }

  const HttpServerOptions options_;
  const Router router_;
  // Set once by Start().
  std::unique_ptr<HostPolicy> hosts_;
  std::unique_ptr<SessionContext> context_;
  tcp::endpoint endpoint_;

  std::mutex stop_mutex_;
  std::unique_ptr<Loop> loop_;  // set by Start(), reset by Stop() when nobody else is left; its content is the I/O thread's
  std::thread thread_;          // GUARDED_BY(stop_mutex_)
  std::atomic<std::thread::id> io_thread_id_;
  WorkPool pool_;
  WorkPool timed_pool_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, Router router) {
  auto impl = std::make_unique<Impl>(options, std::move(router));
  if (absl::Status status = impl->Start(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() {
  FIBERSCOPE_CHECK(!impl_->OnOwnThread(), "an HttpServer is destroyed by one of its own handlers");
  Stop();
}
std::string HttpServer::address() const { return AddressText(impl_->endpoint()); }
uint16_t HttpServer::port() const { return impl_->endpoint().port(); }
void HttpServer::Stop() { impl_->Stop(); }

}  // namespace fiberscope::server
