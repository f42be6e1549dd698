#include "server/example/order_client.h"

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/context.h"
#include "runtime/io/use_fiber.h"
#include "runtime/request.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"

namespace demo {
namespace {

namespace http = boost::beast::http;
using boost::system::error_code;
using fiberscope::use_fiber;
using tcp = boost::asio::ip::tcp;

absl::Status Failed(const char* attempt, const error_code& error) {
  absl::Status cancelled = fiberscope::this_fiber::context().err();
  if (cancelled.ok()) return absl::UnavailableError(absl::StrFormat("order service: %s: %s", attempt, error.message()));
  return absl::Status(cancelled.code(), "the order service did not answer in time");
}

void SetIdentity(const fiberscope::RequestIdentity& identity, HttpRequest& request) {
  const fiberscope::TraceContext call = identity.ChildSpan();
  request.set("X-Request-Id", identity.id.text());
  request.set("traceparent", fiberscope::PrintTraceparent(call));
  if (!call.state.empty()) request.set("tracestate", call.state);
}

}  // namespace

absl::StatusOr<HttpResponse> OrderClient::Get(std::string_view target) {
  const fiberscope::TraceRegion region("call orders");
  absl::StatusOr<tcp::socket> socket = TakeConnection();
  if (!socket.ok()) return socket.status();

  HttpRequest request{http::verb::get, {target.data(), target.size()}, 11};
  request.set(http::field::host, "orders");
  const fiberscope::RequestIdentity* const identity = fiberscope::this_fiber::request();
  if (identity != nullptr) SetIdentity(*identity, request);

  error_code error;
  http::async_write(*socket, request, use_fiber[error]);
  if (error) return Failed("send", error);
  boost::beast::flat_buffer buffer;
  HttpResponse response;
  http::async_read(*socket, buffer, response, use_fiber[error]);
  if (error) return Failed("receive", error);
  if (response.keep_alive()) KeepConnection(*std::move(socket));
  return response;
}

absl::StatusOr<tcp::socket> OrderClient::TakeConnection() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      tcp::socket socket = std::move(idle_.back());
      idle_.pop_back();
      return socket;
    }
  }
  tcp::socket socket(executor_);
  error_code error;
  socket.async_connect(endpoint_, use_fiber[error]);
  if (error) return Failed("connect", error);
  return socket;
}

void OrderClient::KeepConnection(tcp::socket socket) {
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kMaxIdle) idle_.push_back(std::move(socket));
}

}  // namespace demo
