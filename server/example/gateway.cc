#include "server/example/gateway.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/context.h"
#include "runtime/this_fiber.h"
#include "server/requests/served_request.h"

namespace demo {
namespace {

using tcp = boost::asio::ip::tcp;

constexpr std::string_view kCheckout = "/checkout";

}  // namespace

Gateway::Gateway(fiberscope::Scheduler& scheduler, const Instruments& instruments, const Options& options)
    : scheduler_(scheduler),
      requests_(instruments.requests),
      logger_(instruments.log.logger("gateway")),
      outcomes_(instruments, "checkouts", "Requests to the gateway, by what became of them."),
      options_(options),
      acceptor_(scheduler.get_executor()),
      orders_(scheduler.get_executor(), options.orders) {}

absl::StatusOr<tcp::endpoint> Gateway::Start() {
  if (absl::Status status = Listen("gateway", options_.endpoint, acceptor_); !status.ok()) return status;
  scheduler_.Spawn([this] { AcceptConnections(); }, {.name = "gateway-accept"});
  return acceptor_.local_endpoint();
}

void Gateway::AcceptConnections() {
  AcceptAll(acceptor_, [this](tcp::socket socket) {
    fiberscope::Spawn([this, socket = std::move(socket)]() mutable { ServeConnection(std::move(socket)); },
                      {.name = "gateway-connection"});
  });
}

void Gateway::ServeConnection(tcp::socket socket) {
  ServeRequests(socket, "gateway-request",
                [this](const HttpRequest& request, HttpResponse& response) { Answer(request, response); });
}

void Gateway::Answer(const HttpRequest& request, HttpResponse& response) {
  const auto begin = std::chrono::steady_clock::now();
  const std::string_view target(request.target().data(), request.target().size());
  const std::string_view path = target.substr(0, target.find('?'));
  const bool is_checkout = path == kCheckout;
  fiberscope::server::ServedRequest served(
      requests_, {.identity = IdentityOf(request),
                  .route = is_checkout ? kCheckout : "no such route",
                  .method = {request.method_string().data(), request.method_string().size()},
                  .task = "checkout"});
  const fiberscope::ContextScope deadline(fiberscope::this_fiber::context().WithTimeout(options_.timeout));
  response.set("X-Request-Id", fiberscope::this_fiber::request()->id.text());
  if (is_checkout) {
    PassOn(target.substr(path.size()), response);
  } else {
    SetError(absl::NotFoundError("ask for /checkout?item=apple&quantity=2"), response);
  }
  served.set_status(static_cast<int>(response.result_int()));
  Tell(response, std::chrono::steady_clock::now() - begin);
}

void Gateway::PassOn(std::string_view query, HttpResponse& response) {
  absl::StatusOr<HttpResponse> answer = orders_.Get(absl::StrCat("/order", absl::string_view(query.data(), query.size())));
  if (!answer.ok()) return SetError(answer.status(), response);
  response.result(answer->result_int());
  response.body() = std::move(answer->body());
}

void Gateway::Tell(const HttpResponse& response, std::chrono::nanoseconds took) {
  const bool failed = IsFailure(response);
  outcomes_.Count(failed ? "failed" : response.result_int() >= 400 ? "refused" : "answered");
  if (failed) {
    logger_.Warn("checkout failed", {{"status", response.result_int()}, {"took", took}});
  } else {
    logger_.Info("checkout answered", {{"status", response.result_int()}, {"took", took}});
  }
}

}  // namespace demo
