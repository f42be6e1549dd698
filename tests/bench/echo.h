// An echo over TCP on loopback, 64 connections that always have one message of 64 bytes under way: a server of fibers, and the
// client for every server, a bare epoll loop on the calling thread.
#ifndef FIBERSCOPE_TESTS_BENCH_ECHO_H_
#define FIBERSCOPE_TESTS_BENCH_ECHO_H_

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <boost/system/error_code.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/io/use_fiber.h"
#include "runtime/scheduler.h"

namespace fiberscope::bench {

inline constexpr int kConnections = 64;
inline constexpr size_t kMessageBytes = 64;

inline void SendsAtOnce(int socket) {
  const int on = 1;
  setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

// Waits for readable sockets and hands out one after the other.
class ReadySockets {
 public:
  void Add(int socket) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = socket}};
    FIBERSCOPE_CHECK(epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event) == 0, "epoll_ctl: errno %d", errno);
  }
  ReadySockets() = default;
  ReadySockets(const ReadySockets&) = delete;
  ReadySockets& operator=(const ReadySockets&) = delete;
  ~ReadySockets() { close(epoll_); }

  int Next() {
    while (next_ == ready_) {
      next_ = 0;
      ready_ = std::max(0, epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), -1));
    }
    return events_[static_cast<size_t>(next_++)].data.fd;
  }

 private:
  const int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::array<epoll_event, kConnections + 1> events_;
  int next_ = 0;
  int ready_ = 0;
};

// Connects, and has a message under way on every connection.
class Client {
 public:
  explicit Client(uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int& socket : sockets_) {
      socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      FIBERSCOPE_CHECK(connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0,
                       "connect to port %d: errno %d", port, errno);
      SendsAtOnce(socket);
      ready_.Add(socket);
      Send(socket);
    }
  }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client() {
    for (const int socket : sockets_) close(socket);
  }

  // So that every connection has been served some times.
  static constexpr int kWarmUpMessages = 10 * kConnections;
  void WarmUp() {
    for (int i = 0; i < kWarmUpMessages; ++i) Step();
  }

  // Takes one answer and sends the next message.
  void Step() {
    const int socket = ready_.Next();
    std::array<char, kMessageBytes> answer;
    const ssize_t size = recv(socket, answer.data(), answer.size(), 0);
    FIBERSCOPE_CHECK(size == static_cast<ssize_t>(kMessageBytes), "an echo of %d bytes: errno %d", size, errno);
    Send(socket);
  }

 private:
  static void Send(int socket) {
    const std::array<char, kMessageBytes> message{};
    FIBERSCOPE_CHECK(send(socket, message.data(), message.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(kMessageBytes),
                     "send: errno %d", errno);
  }

  ReadySockets ready_;
  std::array<int, kConnections> sockets_;
};

inline void Echo(boost::asio::ip::tcp::socket socket) {
  SendsAtOnce(socket.native_handle());
  std::array<char, kMessageBytes> message;
  for (boost::system::error_code error;;) {
    const size_t bytes = socket.async_read_some(boost::asio::buffer(message), use_fiber[error]);
    if (error) return;
    boost::asio::async_write(socket, boost::asio::buffer(message, bytes), use_fiber[error]);
    if (error) return;
  }
}

// Serves until it is stopped, before the client goes away or after.
class FiberServer {
 public:
  explicit FiberServer(int processors) : scheduler_({.processors = processors}) {
    scheduler_.Spawn([this] {
      for (boost::system::error_code error;;) {
        boost::asio::ip::tcp::socket socket = acceptor_.async_accept(use_fiber[error]);
        if (error) return;
        Spawn([socket = std::move(socket)]() mutable { Echo(std::move(socket)); });
      }
    });
  }
  FiberServer(const FiberServer&) = delete;
  FiberServer& operator=(const FiberServer&) = delete;
  ~FiberServer() { scheduler_.Stop(); }

  uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  Scheduler scheduler_;
  boost::asio::ip::tcp::acceptor acceptor_{scheduler_.get_executor(), {boost::asio::ip::address_v4::loopback(), 0}};
};

}  // namespace fiberscope::bench

#endif  // FIBERSCOPE_TESTS_BENCH_ECHO_H_
