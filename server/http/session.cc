#include "server/http/session.h"

#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <exception>
#include <future>
#include <iterator>
#include <utility>

#include "absl/strings/str_format.h"
#include "server/http/path.h"
#include "server/http/query.h"

namespace fiberscope::server {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::chrono::milliseconds kRetryAfter{1'000};

auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

constexpr std::chrono::milliseconds kLinger{1'000};
constexpr size_t kMaxLingerBytes = 4 * kMaxPostBytes;
Method MethodOf(http::verb verb) {
  switch (verb) {
    case http::verb::get: return Method::kGet;
    case http::verb::head: return Method::kHead;
    case http::verb::post: return Method::kPost;
    case http::verb::put: return Method::kPut;
    default: return Method::kOther;
  }
}

// R-B4. Browsers of today say where a request comes from; those of yesterday still ask before they send a header of that name to
// another site.
bool MayChange(const http::request_header<>& head) {
  const auto site = head["Sec-Fetch-Site"];
  return head.count("X-Fiberscope-Change") != 0 && (site.empty() || site == "none" || site == "same-origin");
}

// No exception of a handler may reach the coroutine or end the work thread, and with it the process.
void RunHandler(const Route& route, const Request& request, ResponseStream& stream) {
  try {
    route.handler(request, stream);
  } catch (const std::exception& exception) {
    stream.Fail(absl::InternalError(exception.what()));
  } catch (...) {
    stream.Fail(absl::InternalError("the handler threw something that is no std::exception"));
  }
}

// As the line was sent, its end included.
size_t RequestLineBytes(const http::request_header<>& head) {
  return head.method_string().size() + head.target().size() + std::string_view("  HTTP/1.1\r\n").size();
}

// Likewise, with one blank between a field's name and value. The parser has a limit of its own, but lets through what arrives in
// one piece.
size_t HeaderBytes(const http::request_header<>& head) {
  size_t bytes = RequestLineBytes(head) + std::string_view("\r\n").size();
  for (const auto& field : head) bytes += field.name_string().size() + field.value().size() + std::string_view(": \r\n").size();
  return bytes;
}

// Nothing: short enough. What the parser has of an unfinished header counts: without a target the request line did not end.
std::optional<Response> CheckLength(const http::request_header<>& head, bool too_long) {
  if (RequestLineBytes(head) > kMaxRequestLineBytes || (too_long && head.target().empty())) {
    return ErrorResponse(414, "request line longer than 8 KiB");
  }
  if (too_long || HeaderBytes(head) > kMaxHeaderBytes) return ErrorResponse(431, "request header longer than 16 KiB");
  return std::nullopt;
}

// What to say about a request that could not be read; nothing when there is nobody to say it to.
std::optional<Response> ReadErrorResponse(const error_code& error, const http::request_header<>& head) {
  if (error == http::error::header_limit || error == http::error::buffer_overflow) return CheckLength(head, true);
  if (error == http::error::body_limit) return ErrorResponse(413, "request body too large");
  if (error == http::error::bad_version) return ErrorResponse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  if (error == http::error::end_of_stream || error == http::error::partial_message) return std::nullopt;
  if (error.category() == http::make_error_code(http::error::bad_method).category()) {
    return ErrorResponse(400, "malformed request: " + error.message());
  }
  return std::nullopt;
}

}  // namespace

Session::Session(asio::ip::tcp::socket socket, SessionContext& context)
    : socket_(std::move(socket)),
      context_(context),
      buffer_(kMaxHeaderBytes + 4096),
      deadline_(socket_.get_executor()),
      waiting_(socket_.get_executor()),
      phase_start_(std::chrono::steady_clock::now()) {}

asio::awaitable<void> Session::Run() {
  // Short answers in full at once; we write whole chunks.
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  ArmDeadline(context_.options.header_timeout);
  for (bool first = true;; first = false) {
    error_code error;
    if (!first && buffer_.size() == 0) {
      SetPhase(Phase::kIdle);
      ArmDeadline(context_.options.idle_timeout);
      co_await socket_.async_wait(asio::socket_base::wait_read, Into(error));
      if (error) co_return;
    }
    if (!first) {
      SetPhase(Phase::kReadingHeader);
      ArmDeadline(context_.options.header_timeout);
    }
    ResponseMode mode;
    Decision decision;
    const std::optional<Request> request = co_await ReadRequest(mode, decision);
    if (!request.has_value()) co_return;
    DisarmDeadline();
    if (context_.draining) mode.keep_alive = false;

    ResponseStream::Rest rest = co_await Answer(*request, mode, decision);
    if (rest.broken) {
      Reset();
      co_return;
    }
    const absl::Status written = co_await Write(std::move(rest.wire));
    if (!written.ok()) co_return;
    if (!rest.keep_alive || context_.draining) break;
  }
  co_await Linger();
}

asio::awaitable<std::optional<Request>> Session::ReadRequest(ResponseMode& mode, Decision& decision) {
  Parser parser;
  parser.header_limit(kMaxHeaderBytes);
  parser.body_limit(kMaxPostBytes);
  error_code error;
  co_await http::async_read_header(socket_, buffer_, parser, Into(error));
  mode.keep_alive = false;  // unless all goes well
  if (error) {
    if (std::optional<Response> response = ReadErrorResponse(error, parser.get())) co_await Refuse(*std::move(response), mode);
    co_return std::nullopt;
  }
  SetPhase(Phase::kBusy);
  Request request;
  std::optional<Response> refusal = CheckHead(parser, request, mode);
  if (!refusal.has_value()) {
    decision = context_.router.Decide(request);
    refusal = co_await ReadBody(parser, decision.route);
  }
  if (refusal.has_value()) {
    mode.keep_alive = false;
    co_await Refuse(*std::move(refusal), mode);
    co_return std::nullopt;
  }
  if (request.method == Method::kPost || request.method == Method::kPut) request.body = std::move(parser.get().body());
  co_return request;
}

std::optional<Response> Session::CheckHead(const Parser& parser, Request& request, ResponseMode& mode) {
  const auto& head = parser.get();
  mode.http_1_0 = head.version() == 10;
  mode.keep_alive = parser.keep_alive();
  request.method = MethodOf(head.method());
  mode.head_only = request.method == Method::kHead;
  if (head.version() != 10 && head.version() != 11) return ErrorResponse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
  const std::string_view raw_target(head.target().data(), head.target().size());
  if (std::optional<Response> too_long = CheckLength(head, false)) return too_long;
  if (static_cast<size_t>(std::distance(head.begin(), head.end())) > kMaxHeaderFields) {
    return ErrorResponse(431, absl::StrFormat("more than %d header fields", kMaxHeaderFields));
  }
  const std::optional<Target> target = ParseTarget(raw_target);
  if (!target.has_value()) return ErrorResponse(400, "malformed request target");

  // The name that the request was made under. In absolute-form the Host field says nothing.
  const auto hosts = head.equal_range(http::field::host);
  const auto host_count = std::distance(hosts.first, hosts.second);
  if (host_count > 1 || (host_count == 0 && !mode.http_1_0)) return ErrorResponse(400, "one Host field is required");
  std::string_view host = target->authority;
  if (host.empty() && host_count == 1) host = {hosts.first->value().data(), hosts.first->value().size()};
  if ((host_count == 1 || !host.empty()) && !context_.hosts.Allows(host)) {
    return ErrorResponse(421, "this host name is not served here (DebugServerOptions::allowed_hosts)");
  }

  const std::optional<std::string> path = PercentDecode(target->path, /*plus_is_space=*/false);
  if (!path.has_value() || path->find('\0') != std::string::npos) return ErrorResponse(400, "malformed path");
  request.path = *path;
  request.raw_query = std::string(target->query);
  request.may_change = MayChange(head);
  return std::nullopt;
}

asio::awaitable<std::optional<Response>> Session::ReadBody(Parser& parser, const Route* route) {
  const Method method = MethodOf(parser.get().method());
  const bool wanted = route != nullptr && (method == Method::kPost || method == Method::kPut);
  const size_t limit = wanted ? kMaxPostBytes : kMaxIgnoredBodyBytes;
  if (parser.content_length().has_value() && *parser.content_length() > limit) {
    co_return ErrorResponse(413, absl::StrFormat("request body of %d bytes; at most %d are taken",
                                              *parser.content_length(), limit));
  }
  if (parser.is_done()) co_return std::nullopt;
  parser.body_limit(limit);
  ArmDeadline(context_.options.body_timeout);
  error_code error;
  if (parser.get().version() == 11 && boost::beast::iequals(parser.get()[http::field::expect], "100-continue")) {
    // If that fails, so does the read.
    (void)co_await Write("HTTP/1.1 100 Continue\r\n\r\n");
    ArmDeadline(context_.options.body_timeout);
  }
  co_await http::async_read(socket_, buffer_, parser, Into(error));
  if (!error) co_return std::nullopt;
  std::optional<Response> response = ReadErrorResponse(error, parser.get());
  co_return response.has_value() ? std::move(response) : ErrorResponse(400, "the request body did not arrive");
}

asio::awaitable<ResponseStream::Rest> Session::Answer(const Request& request, const ResponseMode& mode,
                                                      const Decision& decision) {
  ResponseStream at_once(mode, nullptr);
  if (decision.route == nullptr) {
    at_once.Send(decision.response);
    co_return at_once.Take();
  }
  if (!decision.route->slow) {
    RunHandler(*decision.route, request, at_once);
    co_return at_once.Take();
  }
  // The work thread hands over chunks and waits for each to be written; this coroutine sleeps until the handler is done.
  struct Job {
    ResponseStream::Rest rest;
    bool done = false;
  };
  const auto executor = socket_.get_executor();
  const auto job = std::make_shared<Job>();
  const auto finished = std::make_shared<asio::steady_timer>(executor, asio::steady_timer::time_point::max());
  const auto self = shared_from_this();
  const auto flush = [self, executor](std::string wire) -> absl::Status {
    return asio::co_spawn(executor, self->Write(std::move(wire)), asio::use_future).get();
  };
  const bool timed = !mode.head_only && decision.route->timed && decision.route->timed(request);
  ResponseStream::Wait wait = nullptr;
  if (timed) {
    wait = [self, executor](std::chrono::nanoseconds time, ResponseStream::Probe probe) {
      return asio::co_spawn(executor, self->Wait(time, probe), asio::use_future).get();
    };
  }
  std::function<void()> work = [self, request, mode, route = decision.route, executor, job, finished, flush, wait] {
    ResponseStream stream(mode, flush, wait);
    // It may have waited in the queue for longer than the connection lived.
    if (self->reachable()) RunHandler(*route, request, stream);
    asio::post(executor, [job, finished, rest = stream.Take()]() mutable {
      job->rest = std::move(rest);
      job->done = true;
      finished->cancel();
    });
  };
  if (!(timed ? context_.timed_pool : context_.pool).Submit(work)) {
    Response busy = context_.draining ? ErrorResponse(503, "the debug server is stopping")
                    : timed           ? ErrorResponse(429, "too many profiles over an interval in progress, try again")
                                      : ErrorResponse(429, "too many dumps in progress or queued, try again");
    busy.head.fields.emplace_back("Retry-After", absl::StrFormat("%d", kRetryAfter / std::chrono::seconds(1)));
    at_once.Send(std::move(busy));
    co_return at_once.Take();
  }
  while (!job->done) {
    error_code ignored;
    co_await finished->async_wait(Into(ignored));
  }
  co_return std::move(job->rest);
}

asio::awaitable<absl::Status> Session::Write(std::string wire) {
  for (size_t at = 0; at < wire.size();) {
    ArmDeadline(context_.options.write_stall_timeout);
    error_code error;
    at += co_await socket_.async_write_some(asio::buffer(wire.data() + at, wire.size() - at), Into(error));
    if (error) {
      co_return timed_out_ ? absl::DeadlineExceededError("the client did not read the response")
                           : absl::CancelledError("the client has left: " + error.message());
    }
  }
  DisarmDeadline();
  co_return absl::OkStatus();
}

asio::awaitable<ResponseStream::Waited> Session::Wait(std::chrono::nanoseconds time, ResponseStream::Probe probe) {
  using namespace asio::experimental::awaitable_operators;
  bool left = !socket_.is_open();
  if (!left && !context_.draining) {
    waiting_.expires_after(time);
    error_code error;
    left = (co_await (waiting_.async_wait(Into(error)) || ClientLeaves(probe))).index() == 1 || !socket_.is_open();
  }
  absl::Status status;
  if (left) {
    status = absl::CancelledError("the client has left");
  } else if (context_.draining) {
    status = absl::CancelledError("the debug server is stopping");
  }
  co_return ResponseStream::Waited{std::move(status), probe};
}

asio::awaitable<void> Session::ClientLeaves(ResponseStream::Probe& probe) {
  error_code error;
  while (probe != ResponseStream::Probe::kSent) {
    co_await socket_.async_wait(asio::socket_base::wait_read, Into(error));
    if (error) co_return;
    char byte;
    const ssize_t received = recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (received < 0 && errno == EAGAIN) continue;
    if (received < 0) co_return;
    if (received > 0) break;  // the next request
    // It has sent its last byte. If it does not read either, the answer to one more byte of ours is a reset.
    if (probe == ResponseStream::Probe::kForbidden) co_return;
    if (send(socket_.native_handle(), &ResponseStream::kProbeByte, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) co_return;
    probe = ResponseStream::Probe::kSent;
  }
  // Readable for ever from here on: what is left is to be told of an error.
  co_await socket_.async_wait(asio::socket_base::wait_error, Into(error));
}

asio::awaitable<void> Session::Refuse(Response response, const ResponseMode& mode) {
  ResponseStream stream({mode.head_only, mode.http_1_0, false}, nullptr);
  stream.Send(std::move(response));
  (void)co_await Write(stream.Take().wire);
  co_await Linger();
}

asio::awaitable<void> Session::Linger() {
  SetPhase(Phase::kClosing);
  error_code error;
  socket_.shutdown(asio::socket_base::shutdown_send, error);
  if (context_.draining) co_return;
  ArmDeadline(kLinger);
  char dropped[4096];
  for (size_t total = 0; !error && total < kMaxLingerBytes;) {
    total += co_await socket_.async_read_some(asio::buffer(dropped), Into(error));
  }
}

void Session::SetPhase(Phase phase) {
  phase_ = phase;
  phase_start_ = std::chrono::steady_clock::now();
}

void Session::ArmDeadline(std::chrono::milliseconds timeout) {
  armed_ = true;
  deadline_.expires_after(timeout);
  deadline_.async_wait([self = shared_from_this()](const error_code& error) {
    // The wait may have ended just before it was cancelled or set anew: the clock decides.
    if (error || !self->armed_ || self->deadline_.expiry() > std::chrono::steady_clock::now()) return;
    self->timed_out_ = true;
    self->Reset();
  });
}

void Session::DisarmDeadline() {
  armed_ = false;
  deadline_.cancel();
}

void Session::Reset() {
  if (!socket_.is_open()) return;
  reachable_ = false;
  error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  socket_.close(ignored);
  deadline_.cancel();
}

void Session::Close() {
  reachable_ = false;
  error_code ignored;
  socket_.close(ignored);
  DisarmDeadline();
}

void Session::Drain() {
  waiting_.cancel();
  if (phase_ == Phase::kClosing) Close();
  if (phase_ == Phase::kReadingHeader || phase_ == Phase::kIdle) Reset();
}

}  // namespace fiberscope::server
