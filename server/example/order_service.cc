#include "server/example/order_service.h"

#include <algorithm>
#include <array>
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
#include "pprof/custom_profile.h"
#include "runtime/labels.h"
#include "runtime/request.h"
#include "runtime/sync/select.h"
#include "runtime/this_fiber.h"
#include "runtime/trace_annotations.h"
#include "runtime/wait_cancelled.h"
#include "server/requests/served_request.h"

namespace demo {
namespace {

using fiberscope::pprof::CustomProfile;
using tcp = boost::asio::ip::tcp;

constexpr int kFullShelf = 10'000;
constexpr size_t kAuditRecordBytes = 4096;
constexpr uint64_t kLeakEvery = 10;
constexpr char kRoute[] = "/order";

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

// The calling fiber works for the request of that context, as far as log, labels and trace go: it is not cancelled with it.
class WorkFor {
 public:
  explicit WorkFor(const fiberscope::Context& context) : context_(context.WithoutCancel()) {
    if (const fiberscope::RequestIdentity* const request = fiberscope::this_fiber::request()) request_.emplace(*request);
  }

 private:
  const fiberscope::ContextScope context_;
  std::optional<fiberscope::RequestScope> request_;
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

OrderService::OrderService(fiberscope::Scheduler& scheduler, OrderLog log, const Instruments& instruments,
                           const Options& options)
    : scheduler_(scheduler),
      requests_(instruments.requests),
      logger_(instruments.log.logger("orders")),
      inventory_logger_(instruments.log.logger("inventory")),
      outcomes_(instruments, "orders", "Orders, by what became of them."),
      batch_orders_(prometheus::BuildHistogram()
                        .Name("demo_inventory_batch_orders")
                        .Help("Orders that share one write to the disk.")
                        .Register(instruments.metrics)
                        .Add({}, prometheus::Histogram::BucketBoundaries{1, 2, 4, 8, 16})),
      options_(options),
      acceptor_(scheduler.get_executor()),
      log_(std::move(log)),
      order_workers_(scheduler, {.fibers = options.order_workers,
                                 .queue_capacity = options.order_queue,
                                 .when_full = fiberscope::WhenPoolFull::kReject,
                                 .name = "order-worker"}) {}

absl::StatusOr<tcp::endpoint> OrderService::Start() {
  if (absl::Status status = Listen("order service", options_.endpoint, acceptor_); !status.ok()) return status;
  Connections();  // on the index page before there is one
  scheduler_.Spawn([this] { AcceptConnections(); }, {.name = "accept"});
  scheduler_.Spawn([this] { RunInventory(); }, {.name = "inventory"});
  scheduler_.Spawn([this] { RunHousekeeper(); }, {.name = "housekeeper"});
  return acceptor_.local_endpoint();
}

void OrderService::AcceptConnections() {
  AcceptAll(acceptor_, [this](tcp::socket socket) {
    fiberscope::Spawn([this, socket = std::move(socket)]() mutable { ServeConnection(std::move(socket)); },
                      {.name = "connection"});
  });
}

void OrderService::ServeConnection(tcp::socket socket) {
  const OpenConnection open;
  ServeRequests(socket, "request", [this](const HttpRequest& request, HttpResponse& response) { Answer(request, response); });
}

void OrderService::Answer(const HttpRequest& request, HttpResponse& response) {
  fiberscope::server::ServedRequest served(
      requests_, {.identity = IdentityOf(request),
                  .route = kRoute,
                  .method = {request.method_string().data(), request.method_string().size()},
                  .task = "order"});
  response.set("X-Request-Id", fiberscope::this_fiber::request()->id.text());
  // What is done for this request ends by then, here, in the pool, and in the inventory.
  const fiberscope::ContextScope deadline(fiberscope::this_fiber::context().WithTimeout(options_.request_timeout));
  Order order;
  absl::StatusOr<int> left = absl::InvalidArgumentError("ask for /order?item=apple&quantity=2");
  if (ParseOrder({request.target().data(), request.target().size()}, order)) {
    order.number = next_order_.fetch_add(1, std::memory_order_relaxed) + 1;
    left = AwaitOrder(order);
  }
  if (left.ok()) {
    response.body() = boost::json::serialize(boost::json::object{
                          {"order", order.number}, {"item", order.item}, {"quantity", order.quantity}, {"left", *left}}) +
                      "\n";
  } else {
    SetError(left.status(), response);
  }
  served.set_status(static_cast<int>(response.result_int()));
  Tell(order, left, response);
}

void OrderService::Tell(const Order& order, const absl::StatusOr<int>& left, const HttpResponse& response) {
  if (left.ok()) {
    outcomes_.Count("placed");
    logger_.Info("order placed", {{"order", order.number}, {"item", order.item}, {"quantity", order.quantity}, {"left", *left}});
  } else if (IsFailure(response)) {
    outcomes_.Count("failed");
    logger_.Error("order failed", {{"order", order.number}, {"item", order.item}, {"error", left.status()}});
  } else {
    outcomes_.Count("refused");
    logger_.Info("order refused", {{"order", order.number}, {"item", order.item}, {"error", left.status()}});
  }
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
                      {.name = "audit",
                       .labels = fiberscope::Labels{{"route", kRoute}},  // and not the request's: it will be over
                       .context = fiberscope::this_fiber::context().WithoutCancel()});
  }
  if (absl::Status status = CheckCredit(order); !status.ok()) return status;
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

// Somebody else's service, which is slow at times, and fails at times.
absl::Status OrderService::CheckCredit(const Order& order) const {
  const fiberscope::TraceRegion region("credit check");
  const auto is_one_in = [&](uint64_t every) { return every != 0 && order.number % every == 0; };
  if (is_one_in(options_.slow_every)) fiberscope::this_fiber::SleepFor(options_.slow_by);
  if (is_one_in(options_.error_every)) return absl::InternalError("the credit check failed");
  return absl::OkStatus();
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
  std::vector<Reservation> taken;
  std::string lines;
  for (Reservation& each : batch) {
    if (each.context.cancelled()) continue;
    const WorkFor request(each.context);
    const fiberscope::TraceRegion region("reserve");
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

  batch_orders_.Observe(static_cast<double>(taken.size()));
  const absl::Status logged = log_.Append(lines);
  for (const Reservation& each : taken) {
    const WorkFor request(each.context);
    inventory_logger_.Info("reserved", {{"order", each.order.number}, {"left", each.left}, {"stored", logged}});
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
