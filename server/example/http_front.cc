#include "server/example/http_front.h"

#include <boost/asio/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/io/use_fiber.h"
#include "runtime/scope.h"
#include "runtime/this_fiber.h"

namespace demo {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using fiberscope::use_fiber;
using tcp = asio::ip::tcp;

unsigned HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kUnavailable:
      return 502;
    case absl::StatusCode::kResourceExhausted:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return 504;
    default:
      return 500;
  }
}

// Several fields of one name are one, joined by commas.
std::string FieldOf(const HttpRequest& request, std::string_view name) {
  std::string value;
  const auto [begin, end] = request.equal_range({name.data(), name.size()});
  for (auto at = begin; at != end; ++at) {
    if (!value.empty()) value += ',';
    value.append(at->value().data(), at->value().size());
  }
  return value;
}

}  // namespace

absl::Status Listen(std::string_view service, const tcp::endpoint& endpoint, tcp::acceptor& acceptor) {
  error_code error;
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) return absl::OkStatus();
  return absl::UnavailableError(absl::StrFormat("%s: listen on %s:%d: %s", service, endpoint.address().to_string(), endpoint.port(),
                                                error.message()));
}

void AcceptAll(tcp::acceptor& acceptor, const std::function<void(tcp::socket)>& take) {
  for (;;) {
    error_code error;
    tcp::socket socket = acceptor.async_accept(use_fiber[error]);
    if (error == asio::error::operation_aborted) return;
    if (error) {  // out of descriptors, or the client left already
      fiberscope::this_fiber::SleepFor(std::chrono::milliseconds(10));
      continue;
    }
    take(std::move(socket));
  }
}

void ServeRequests(tcp::socket& socket, std::string_view fiber_name,
                   const std::function<void(const HttpRequest&, HttpResponse&)>& answer) {
  boost::beast::flat_buffer buffer(16 * 1024);
  for (;;) {
    error_code error;
    HttpRequest request;
    http::async_read(socket, buffer, request, use_fiber[error]);
    if (error) return;

    // It uses this fiber's variables, so it lives in a scope.
    HttpResponse response{http::status::ok, request.version()};
    fiberscope::Scope scope;
    scope.Spawn([&] { answer(request, response); }, {.name = fiber_name});
    scope.Join();

    response.set(http::field::content_type, "application/json");
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    http::async_write(socket, response, use_fiber[error]);
    if (error || !response.keep_alive()) return;
  }
}

fiberscope::RequestIdentity IdentityOf(const HttpRequest& request) {
  const std::string id = FieldOf(request, "X-Request-Id");
  const std::string traceparent = FieldOf(request, "traceparent");
  const std::string tracestate = FieldOf(request, "tracestate");
  return fiberscope::AcceptRequest({.request_id = id, .traceparent = traceparent, .tracestate = tracestate});
}

void SetError(const absl::Status& error, HttpResponse& response) {
  response.result(HttpStatus(error.code()));
  response.body() = boost::json::serialize(boost::json::object{{"error", std::string(error.message())}}) + "\n";
}

bool IsFailure(const HttpResponse& response) { return response.result_int() >= 500; }

}  // namespace demo
