// What the demo's two HTTP services have in common: they accept connections, read requests one after the other, and answer each on
// a fiber of its own.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_HTTP_FRONT_H_
#define FIBERSCOPE_SERVER_EXAMPLE_HTTP_FRONT_H_

#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "runtime/request.h"

namespace demo {

using HttpRequest = boost::beast::http::request<boost::beast::http::empty_body>;
using HttpResponse = boost::beast::http::response<boost::beast::http::string_body>;

// Binds. The error names the service and the address.
absl::Status Listen(std::string_view service, const boost::asio::ip::tcp::endpoint& endpoint,
                    boost::asio::ip::tcp::acceptor& acceptor);

// Calls `take` with each connection until the acceptor is closed. Fiber-only.
void AcceptAll(boost::asio::ip::tcp::acceptor& acceptor, const std::function<void(boost::asio::ip::tcp::socket)>& take);

// Has each request of the connection answered, by a fiber of that name, until the connection ends. Responses are JSON. Fiber-only.
void ServeRequests(boost::asio::ip::tcp::socket& socket, std::string_view fiber_name,
                   const std::function<void(const HttpRequest&, HttpResponse&)>& answer);

// By X-Request-Id, traceparent and tracestate.
fiberscope::RequestIdentity IdentityOf(const HttpRequest& request);

// {"error":"..."} with the status that stands for the code.
void SetError(const absl::Status& error, HttpResponse& response);

// What a service thinks of an answer: for its log and its counts.
bool IsFailure(const HttpResponse& response);

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_HTTP_FRONT_H_
