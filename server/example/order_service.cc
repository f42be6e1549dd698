#include "server/example/order_service.h"

#include <boost/asio/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>
#include <chrono>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/io/use_fiber.h"
#include "runtime/this_fiber.h"

namespace demo {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using fiberscope::use_fiber;
using tcp = asio::ip::tcp;

constexpr int kOrderWorkers = 4;
constexpr int kFullShelf = 10'000;
constexpr uint64_t kLeakEvery = 10;

// An HTTP request line's query, read into an order's fields. False when something is missing or malformed.
bool ParseOrder(std::string_view target, Reservation& reservation) {
  const boost::urls::result<boost::urls::url_view> url = boost::urls::parse_origin_form(target);
  if (!url || url->path() != "/order") return false;
  const auto item = url->params().find("item");
  if (item == url->params().end() || (*item).value.empty()) return false;
  reservation.item = (*item).value;
  const auto quantity = url->params().find("quantity");
  if (quantity == url->params().end()) return false;
  const std::string digits = (*quantity).value;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), reservation.quantity);
  return error == std::errc() && end == digits.data() + digits.size() && reservation.quantity > 0;
}

}  // namespace

Store::Store() { FillShelves(); }

bool Store::Take(const std::string& item, int quantity) {
  const std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(item);
  if (shelf == shelves_.end() || shelf->second < quantity) return false;
  shelf->second -= quantity;
  return true;
}

void Store::Restock() {
  const std::lock_guard lock(mutex_);
  FillShelves();
}

void Store::FillShelves() {
  for (const char* const item : {"apple", "pear", "plum"}) shelves_[item] = kFullShelf;
}

OrderService::OrderService(fiberscope::Scheduler& scheduler, const Options& options)
    : scheduler_(scheduler), options_(options), acceptor_(scheduler.get_executor()) {}

absl::StatusOr<tcp::endpoint> OrderService::Start() {
  error_code error;
  acceptor_.open(options_.endpoint.protocol(), error);
  if (!error) acceptor_.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor_.bind(options_.endpoint, error);
  if (!error) acceptor_.listen(asio::socket_base::max_listen_connections, error);
  if (error) {
    return absl::UnavailableError(absl::StrFormat("order service: listen on %s:%d: %s",
                                                  options_.endpoint.address().to_string(), options_.endpoint.port(),
                                                  error.message()));
  }
  scheduler_.Spawn([this] { AcceptConnections(); }, {.name = "accept"});
  for (int i = 0; i < kOrderWorkers; ++i) scheduler_.Spawn([this] { RunOrderWorker(); }, {.name = "order-worker"});
  scheduler_.Spawn([this] { RunInventory(); }, {.name = "inventory"});
  scheduler_.Spawn([this] { RunHousekeeper(); }, {.name = "housekeeper"});
  return acceptor_.local_endpoint();
}

void OrderService::AcceptConnections() {
  for (;;) {
    error_code error;
    tcp::socket socket = acceptor_.async_accept(use_fiber[error]);
    if (error == asio::error::operation_aborted) return;
    if (error) {  // out of descriptors, or the client left already
      fiberscope::this_fiber::SleepFor(std::chrono::milliseconds(10));
      continue;
    }
    fiberscope::Spawn([this, socket = std::move(socket)]() mutable { ServeConnection(std::move(socket)); },
                      {.name = "connection"});
  }
}

void OrderService::ServeConnection(tcp::socket socket) {
  boost::beast::flat_buffer buffer(16 * 1024);
  for (;;) {
    error_code error;
    http::request<http::empty_body> request;
    http::async_read(socket, buffer, request, use_fiber[error]);
    if (error) return;

    // A fiber of its own for the request, labelled with it: everything it spawns and waits for carries the label.
    http::response<http::string_body> response{http::status::ok, request.version()};
    const auto labels = fiberscope::Labels{{"route", "/order"}};
    fiberscope::Spawn(
        [&] {
          unsigned status = 200;
          response.body() = PlaceOrder({request.target().data(), request.target().size()}, status);
          response.result(status);
        },
        {.name = "request", .labels = labels})
        .Join();

    response.set(http::field::content_type, "application/json");
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    http::async_write(socket, response, use_fiber[error]);
    if (error || !response.keep_alive()) return;
  }
}

std::string OrderService::PlaceOrder(std::string_view target, unsigned& status) {
  boost::json::object answer;
  Order order;
  if (!ParseOrder(target, order.reservation)) {
    status = 400;
    answer["error"] = "ask for /order?item=apple&quantity=2";
    return boost::json::serialize(answer);
  }
  order.number = next_order_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (options_.leak && order.number % kLeakEvery == 0) {
    fiberscope::Spawn([this, number = order.number] { Audit(number); }, {.name = "audit"});
  }
  fiberscope::Channel<bool> reply(1, "reply");
  order.reservation.reply = &reply;
  answer["order"] = order.number;
  answer["item"] = order.reservation.item;
  answer["quantity"] = order.reservation.quantity;
  orders_.Send(std::move(order));
  if (!reply.Receive().value_or(false)) {
    status = 409;
    answer["error"] = "sold out";
  }
  return boost::json::serialize(answer);
}

void OrderService::RunOrderWorker() {
  while (std::optional<Order> order = orders_.Receive()) reservations_.Send(std::move(order->reservation));
}

void OrderService::RunInventory() {
  while (const std::optional<Reservation> reservation = reservations_.Receive()) {
    reservation->reply->Send(store_.Take(reservation->item, reservation->quantity));
  }
}

void OrderService::RunHousekeeper() {
  for (;;) {
    fiberscope::this_fiber::SleepFor(std::chrono::seconds(1));
    store_.Restock();
  }
}

// Nobody ever receives from the audit log: the bug that --leak is there to show.
void OrderService::Audit(uint64_t order) { audit_log_.Send(order); }

}  // namespace demo
