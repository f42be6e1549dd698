// One client connection: reads requests one after the other, has them answered, writes the answers in order.
//
// Confined to the I/O thread; a work thread only hands it bytes to write (Answer's stream) and asks whether it is reachable().
#ifndef FIBERSCOPE_SERVER_HTTP_SESSION_H_
#define FIBERSCOPE_SERVER_HTTP_SESSION_H_

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "server/http/host.h"
#include "server/http/http_server.h"
#include "server/http/response_stream.h"
#include "server/http/router.h"
#include "server/http/work_pool.h"

namespace fiberscope::server {

// What all sessions of a server share; outlives them.
struct SessionContext {
  const HttpServerOptions& options;
  const Router& router;
  const HostPolicy& hosts;
  WorkPool& pool;
  WorkPool& timed_pool;
  bool draining = false;  // no request after the one in progress
};

class Session : public std::enable_shared_from_this<Session> {
 public:
  // What the connection is doing, for choosing whom to close when there are too many.
  enum class Phase {
    kReadingHeader,
    kIdle,     // between requests
    kBusy,     // a request is being read or answered
    kClosing,  // answered the last request, waits for the client to go
  };

  Session(boost::asio::ip::tcp::socket socket, SessionContext& context);

  // Until the connection ends. The caller keeps the session alive.
  boost::asio::awaitable<void> Run();

  bool closed() const { return !socket_.is_open(); }
  Phase phase() const { return phase_; }
  std::chrono::steady_clock::time_point phase_start() const { return phase_start_; }

  // Closes the connection with a reset: what the kernel still holds for the client is dropped.
  void Reset();
  // Closes it in the ordinary way. For the owner, when Run has ended.
  void Close();
  // Closes it if no request is in progress; otherwise it ends after the answer, which waits for nothing any more.
  void Drain();

  // Whether an answer can still reach the client. Any thread.
  bool reachable() const { return reachable_; }

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;

  // The next request, or nothing when the connection is to end; an error was answered then.
  boost::asio::awaitable<std::optional<Request>> ReadRequest(ResponseMode& mode, Decision& decision);
  // Empty: go on. Otherwise what to answer before closing.
  boost::asio::awaitable<std::optional<Response>> ReadBody(Parser& parser, const Route* route);
  std::optional<Response> CheckHead(const Parser& parser, Request& request, ResponseMode& mode);
  boost::asio::awaitable<ResponseStream::Rest> Answer(const Request& request, const ResponseMode& mode,
                                                      const Decision& decision);
  // False when the client is gone or too slow.
  boost::asio::awaitable<absl::Status> Write(std::string wire);
  // See ResponseStream::Wait.
  boost::asio::awaitable<ResponseStream::Waited> Wait(std::chrono::nanoseconds time, ResponseStream::Probe probe);
  // Until the client has left; see ResponseWriter::WaitFor.
  boost::asio::awaitable<void> ClientLeaves(ResponseStream::Probe& probe);
  boost::asio::awaitable<void> Refuse(Response response, const ResponseMode& mode);
  // Ends the connection behind an answer. Closing with unread bytes would reset it, and the reset can overtake the answer: takes
  // what the client still sends, for a moment, and drops it.
  boost::asio::awaitable<void> Linger();

  void SetPhase(Phase phase);
  void ArmDeadline(std::chrono::milliseconds timeout);
  void DisarmDeadline();

  boost::asio::ip::tcp::socket socket_;
  SessionContext& context_;
  boost::beast::flat_buffer buffer_;
  boost::asio::steady_timer deadline_;
  boost::asio::steady_timer waiting_;  // of Wait()
  bool armed_ = false;
  bool timed_out_ = false;
  std::atomic<bool> reachable_ = true;
  Phase phase_ = Phase::kReadingHeader;
  std::chrono::steady_clock::time_point phase_start_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HTTP_SESSION_H_
