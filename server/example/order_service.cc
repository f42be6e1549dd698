#include "server/example/order_service.h"

#include <algorithm>
#include <array>
#include <boost/asio/error.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>
#include <charconv>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "pprof/custom_profile.h"
#include "runtime/io/use_fiber.h"
#include "runtime/scope.h"
#include "runtime/sync/select.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"
#include "runtime/wait_cancelled.h"

namespace demo {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using fiberscope::pprof::CustomProfile;
using fiberscope::use_fiber;
using tcp = asio::ip::tcp;

constexpr int kFullShelf = 10'000;
constexpr size_t kAuditRecordBytes = 4096;
constexpr uint64_t kLeakEvery = 10;

// An HTTP request line's query, read into an order's fields. False when something is missing or malformed.
bool ParseOrder(std::string_view target, Order& order) {
  const boost::urls::result<boost::urls::url_view> url = boost::urls::parse_origin_form(target);
  if (!url || url->path() != "/order") return false;
  const auto item = url->params().find("item");
  if (item == url->params().end() || (*item).value.empty()) return false;
  order.item = (*item).value;
  const auto quantity = url->params().find("quantity");
  if (quantity == url->params().end()) return false;
  const std::string digits = (*quantity).value;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), order.quantity);
  return error == std::errc() && end == digits.data() + digits.size() && order.quantity > 0;
}

unsigned HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
      return 400;
    case absl::StatusCode::kFailedPrecondition:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
      return 504;
    default:
      return 500;
  }
}

// Where connections are served that are open at the moment: /debug/pprof/demo/connections.
CustomProfile& Connections() {
  static CustomProfile& profile = **fiberscope::pprof::NewProfile("demo/connections");
  return profile;
}

class OpenConnection {
 public:
  OpenConnection() { Connections().Add(this).IgnoreError(); }  // no other object is at this address
  ~OpenConnection() { Connections().Remove(this); }
  OpenConnection(const OpenConnection&) = delete;
  OpenConnection& operator=(const OpenConnection&) = delete;
};

}  // namespace

Store::Store() { FillShelves(); }

absl::StatusOr<int> Store::Take(const std::string& item, int quantity) {
  const std::lock_guard lock(mutex_);
  const auto shelf = shelves_.find(item);
  if (shelf == shelves_.end() || shelf->second < quantity) return absl::FailedPreconditionError("sold out");
  return shelf->second -= quantity;
}

void Store::PutBack(const std::string& item, int quantity) {
  const std::lock_guard lock(mutex_);
  shelves_[item] = std::min(shelves_[item] + quantity, kFullShelf);
}

void Store::Restock() {
  const std::lock_guard lock(mutex_);
  FillShelves();
}

void Store::FillShelves() {
  for (const char* const item : {"apple", "pear", "plum"}) shelves_[item] = kFullShelf;
}

OrderService::OrderService(fiberscope::Scheduler& scheduler, OrderLog log, const Options& options)
    : scheduler_(scheduler),
      options_(options),
      acceptor_(scheduler.get_executor()),
      log_(std::move(log)),
      order_workers_(scheduler, {.fibers = options.order_workers,
                                 .queue_capacity = options.order_queue,
                                 .when_full = fiberscope::WhenPoolFull::kReject,
                                 .name = "order-worker"}) {}

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
  Connections();  // on the index page before there is one
  scheduler_.Spawn([this] { AcceptConnections(); }, {.name = "accept"});
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
  const OpenConnection open;
  boost::beast::flat_buffer buffer(16 * 1024);
  for (;;) {
    error_code error;
    Request request;
    http::async_read(socket, buffer, request, use_fiber[error]);
    if (error) return;

    // A fiber of its own for the request, labelled with it: everything it spawns and waits for carries the label. It
    // uses this fiber's variables, so it lives in a scope.
    Response response{http::status::ok, request.version()};
    fiberscope::Scope scope;
    scope.Spawn([&] { Answer(request, response); },
                {.name = "request", .labels = fiberscope::Labels{{"route", "/order"}}});
    scope.Join();

    response.set(http::field::content_type, "application/json");
    response.keep_alive(request.keep_alive());
    response.prepare_payload();
    http::async_write(socket, response, use_fiber[error]);
    if (error || !response.keep_alive()) return;
  }
}

void OrderService::Answer(const Request& request, Response& response) {
  // In an execution trace: all that is done for it, whichever fiber does it.
  const fiberscope::TraceTask task("order");
  // What is done for this request ends by then, here, in the pool, and in the inventory.
  const fiberscope::ContextScope deadline(fiberscope::this_fiber::context().WithTimeout(options_.request_timeout));
  Order order;
  absl::StatusOr<int> left = absl::InvalidArgumentError("ask for /order?item=apple&quantity=2");
  if (ParseOrder({request.target().data(), request.target().size()}, order)) {
    order.number = next_order_.fetch_add(1, std::memory_order_relaxed) + 1;
    left = AwaitOrder(order);
  }
  boost::json::object answer;
  if (left.ok()) {
    answer = {{"order", order.number}, {"item", order.item}, {"quantity", order.quantity}, {"left", *left}};
  } else {
    response.result(HttpStatus(left.status().code()));
    answer["error"] = std::string(left.status().message());
  }
  response.body() = boost::json::serialize(answer) + "\n";
}

absl::StatusOr<int> OrderService::AwaitOrder(const Order& order) {
  try {
    auto placed = order_workers_.Submit([this, order] { return PlaceOrder(order); });
    if (!placed.ok()) return placed.status();
    return placed->Get();
  } catch (const fiberscope::WaitCancelled&) {  // the deadline has passed: here, or in the worker
    return absl::DeadlineExceededError("the order was not placed in time");
  } catch (const absl::BadStatusOrAccess& not_begun) {  // it has passed in the pool's queue
    return not_begun.status();
  }
}

absl::StatusOr<int> OrderService::PlaceOrder(const Order& order) {
  const fiberscope::TraceRegion region("place");
  fiberscope::TraceLog("item", order.item);
  if (options_.leak && order.number % kLeakEvery == 0) {
    // The record outlives the request, so it must not end with the request's context. Nothing else will end it either.
    fiberscope::Spawn([this, number = order.number] { Audit(number); },
                      {.name = "audit", .context = fiberscope::this_fiber::context().WithoutCancel()});
  }
  if (options_.slow_every != 0 && order.number % options_.slow_every == 0) CheckCredit();
  const auto reply = std::make_shared<Reply>();
  reservations_.Send({order, fiberscope::this_fiber::context(), reply});
  std::optional<int> left;
  std::optional<absl::Status> refusal;
  const absl::StatusOr<size_t> answer =
      fiberscope::SelectFor(options_.inventory_timeout, fiberscope::ReceiveCase(&reply->left, left),
                            fiberscope::ReceiveCase(&reply->refusal, refusal));
  if (!answer.ok()) return absl::DeadlineExceededError("the inventory did not answer in time");
  if (refusal) return *refusal;
  ranking_.Add(order);
  return *left;
}

// Somebody else's service, which is slow at times.
void OrderService::CheckCredit() const {
  const fiberscope::TraceRegion region("credit check");
  fiberscope::this_fiber::SleepFor(options_.slow_by);
}

void Ranking::Add(const Order& order) {
  const std::lock_guard lock(mutex_);
  latest_.push_back(order);
  if (latest_.size() > kOrders) latest_.pop_front();
  std::map<std::string, int> wanted;
  for (const Order& each : latest_) wanted[each.item] += each.quantity;
  ranking_.assign(wanted.begin(), wanted.end());
  std::ranges::sort(ranking_, std::greater(), &std::pair<std::string, int>::second);
}

void OrderService::RunInventory() {
  while (std::optional<Reservation> next = reservations_.Receive()) {
    // All that have come meanwhile, so that they share one fsync.
    std::vector<Reservation> batch;
    for (; next; next = reservations_.TryReceive()) batch.push_back(std::move(*next));
    ReserveAndLog(std::move(batch));
  }
}

void OrderService::ReserveAndLog(std::vector<Reservation> batch) {
  const fiberscope::TraceRegion region("reserve");
  std::vector<Reservation> taken;
  std::string lines;
  for (Reservation& each : batch) {
    if (each.context.cancelled()) continue;
    const absl::StatusOr<int> left = store_.Take(each.order.item, each.order.quantity);
    if (!left.ok()) {
      each.reply->refusal.Send(left.status());
      continue;
    }
    each.left = *left;
    absl::StrAppend(&lines, each.order.number, " ", each.order.item, " ", each.order.quantity, "\n");
    taken.push_back(std::move(each));
  }
  if (taken.empty()) return;

  const absl::Status logged = log_.Append(lines);
  for (const Reservation& each : taken) {
    if (logged.ok()) {
      each.reply->left.Send(each.left);
    } else {
      store_.PutBack(each.order.item, each.order.quantity);
      // Each gets a text of its own: copies share one, counted in a library that ThreadSanitizer does not see into.
      each.reply->refusal.Send(absl::Status(logged.code(), logged.message()));
    }
  }
}

void OrderService::RunHousekeeper() {
  for (;;) {
    fiberscope::this_fiber::SleepFor(std::chrono::seconds(1));
    store_.Restock();
  }
}

// Nobody ever receives from the audit log: the bug that --leak is there to show.
void OrderService::Audit(uint64_t order) {
  const auto record = std::make_unique<std::array<char, kAuditRecordBytes>>();
  record->front() = static_cast<char>(order);
  audit_log_.Send(order);
}

}  // namespace demo
