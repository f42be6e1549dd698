#include "server/http/http_server.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
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
#include "server/http/session.h"

namespace fiberscope::server {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;

constexpr std::chrono::milliseconds kMinAcceptBackoff{5};
constexpr std::chrono::milliseconds kMaxAcceptBackoff{1'000};

// Threads made while one exists have all signals blocked: signals are the application's business.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved_);
  }
  ~BlockedSignals() { pthread_sigmask(SIG_SETMASK, &saved_, nullptr); }

 private:
  sigset_t saved_;
};

std::string AddressText(const tcp::endpoint& endpoint) {
  const std::string ip = endpoint.address().to_string();
  return absl::StrFormat(endpoint.address().is_v6() ? "[%s]:%d" : "%s:%d", ip, endpoint.port());
}

absl::Status ListenError(const error_code& error, const tcp::endpoint& endpoint) {
  const std::string message = absl::StrFormat("listen on %s: %s", AddressText(endpoint), error.message());
  switch (error.value()) {
    case EADDRINUSE: return absl::AlreadyExistsError(message);
    case EACCES:
    case EPERM: return absl::PermissionDeniedError(message);
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return absl::ResourceExhaustedError(message);
    default: return absl::UnavailableError(message);
  }
}

int OpenReserve() { return open("/dev/null", O_RDONLY | O_CLOEXEC); }

}  // namespace

class HttpServer::Impl : public std::enable_shared_from_this<HttpServer::Impl> {
 public:
  Impl(const HttpServerOptions& options, Router router)
      : options_(options), router_(std::move(router)), pool_(options.work_queue) {}

  ~Impl() {
    if (reserve_ >= 0) close(reserve_);
  }

  absl::Status Start() {
    error_code error;
    const asio::ip::address ip = asio::ip::make_address(options_.address, error);
    if (error) return absl::InvalidArgumentError(absl::StrFormat("\"%s\" is not an IP address", options_.address));
    const tcp::endpoint wanted(ip, options_.port);
    acceptor_.open(wanted.protocol(), error);
    if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) acceptor_.bind(wanted, error);
    if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
    if (!error) endpoint_ = acceptor_.local_endpoint(error);
    if (error) return ListenError(error, wanted);
    fcntl(acceptor_.native_handle(), F_SETFD, FD_CLOEXEC);
    reserve_ = OpenReserve();
    hosts_ = std::make_unique<HostPolicy>(endpoint_.address().to_string(), endpoint_.port(), options_.allowed_hosts);
    context_ = std::make_unique<SessionContext>(SessionContext{options_, router_, *hosts_, pool_});

    const BlockedSignals blocked;
    if (absl::Status status = pool_.Start(options_.work_threads); !status.ok()) return status;
    asio::co_spawn(io_, Accept(), [](std::exception_ptr) {});
    try {
      thread_ = std::thread([this] { io_.run(); });
    } catch (const std::system_error& system_error) {
      pool_.Join();
      return absl::ResourceExhaustedError(absl::StrFormat("start of the I/O thread: %s", system_error.code().message()));
    }
    pthread_setname_np(thread_.native_handle(), "dbg-io");
    return absl::OkStatus();
  }

  const tcp::endpoint& endpoint() const { return endpoint_; }

  void Stop() {
    const bool own_thread = std::this_thread::get_id() == thread_.get_id() || pool_.OnPoolThread();
    asio::post(io_, [self = shared_from_this()] { self->BeginDrain(); });
    pool_.Close();
    if (own_thread) return;
    const std::lock_guard lock(join_mutex_);
    if (!thread_.joinable()) return;
    pool_.Join();
    thread_.join();
  }

 private:
  asio::awaitable<void> Accept() {
    std::chrono::milliseconds backoff = kMinAcceptBackoff;
    for (;;) {
      error_code error;
      tcp::socket socket =
          co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, error));
      if (!acceptor_.is_open()) co_return;
      if (!error) {
        backoff = kMinAcceptBackoff;
        fcntl(socket.native_handle(), F_SETFD, FD_CLOEXEC);
        Serve(std::move(socket));
        continue;
      }
      if (error.value() == ECONNABORTED || error.value() == EINTR) continue;
      // No descriptor or no memory. The connection stays in the kernel's queue and would make the next accept fail at once, so
      // with the reserve descriptor take one off it and close it, then wait.
      if (reserve_ >= 0) {
        close(reserve_);
        const int refused = accept4(acceptor_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (refused >= 0) close(refused);
      }
      reserve_ = OpenReserve();
      pause_.expires_after(backoff);
      co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, error));
      if (!acceptor_.is_open()) co_return;
      backoff = std::min(backoff * 2, kMaxAcceptBackoff);
    }
  }

  void Serve(tcp::socket socket) {
    if (sessions_.size() >= options_.max_connections && !EvictOne()) {
      // Everybody is being answered. The client learns it by a reset at worst.
      const ResponseMode mode{false, false, false};
      ResponseStream stream(mode, nullptr);
      stream.Send(ErrorResponse(503, "too many connections"));
      const std::string wire = stream.Take().wire;
      error_code ignored;
      socket.non_blocking(true, ignored);
      socket.write_some(asio::buffer(wire), ignored);
      return;
    }
    const auto session = std::make_shared<Session>(std::move(socket), *context_);
    sessions_.push_back(session);
    asio::co_spawn(io_, session->Run(), [this, at = std::prev(sessions_.end())](std::exception_ptr) {
      (*at)->Close();
      sessions_.erase(at);
      if (draining_ && sessions_.empty()) Finish();
    });
  }

  // Makes room: the oldest connection that has not sent a whole request header yet, else the one that has been idle longest.
  // False when all are being answered. Its session ends in a moment; until then there is one connection too many.
  bool EvictOne() {
    for (const Session::Phase phase : {Session::Phase::kReadingHeader, Session::Phase::kIdle}) {
      Session* oldest = nullptr;
      for (const auto& session : sessions_) {
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
    if (std::exchange(draining_, true)) return;
    context_->draining = true;
    error_code ignored;
    acceptor_.close(ignored);
    pause_.cancel();
    for (const auto& session : sessions_) session->Drain();
    if (sessions_.empty()) {
      Finish();
      return;
    }
    pause_.expires_after(options_.drain_timeout);
    pause_.async_wait([self = shared_from_this()](const error_code& error) {
      if (error) return;
      for (const auto& session : self->sessions_) session->Reset();
    });
  }

  // The last connection is gone: let the I/O thread run out of work.
  void Finish() {
    pause_.cancel();
    work_.reset();
  }

  const HttpServerOptions options_;
  const Router router_;
  std::unique_ptr<HostPolicy> hosts_;
  std::unique_ptr<SessionContext> context_;
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(io_);
  tcp::acceptor acceptor_{io_};
  tcp::endpoint endpoint_;
  asio::steady_timer pause_{io_};  // after a failed accept; while draining, until the reset
  std::list<std::shared_ptr<Session>> sessions_;
  bool draining_ = false;
  int reserve_ = -1;  // a descriptor to give up when there are no others
  std::thread thread_;
  std::mutex join_mutex_;
  WorkPool pool_;
};

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options, Router router) {
  auto impl = std::make_shared<Impl>(options, std::move(router));
  if (absl::Status status = impl->Start(); !status.ok()) return status;
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { Stop(); }
std::string HttpServer::address() const { return AddressText(impl_->endpoint()); }
uint16_t HttpServer::port() const { return impl_->endpoint().port(); }
void HttpServer::Stop() { impl_->Stop(); }

}  // namespace fiberscope::server
