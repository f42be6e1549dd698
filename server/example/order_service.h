// A small order service, so that there is something real to look at: an HTTP front, a pool of workers, an inventory
// with a store behind a mutex and a log on the disk, a housekeeper. A gateway (gateway.h) stands before it.
//
//     connection ──spawn──► request ──submit──► order worker ──reservations──► inventory ──reply──► order worker
//     (one fiber each)      (one each)          (a pool of 4)   (channel, 0)    (one)       (two channels, 1)
//
//   GET /order?item=apple&quantity=2   -> 200 {"order":17,"item":"apple","quantity":2,"left":9998}
//   400 malformed, 409 sold out, 503 too many orders, 504 not in time, 500 the log could not be written
//
// What it shows: a context with a deadline for each request, which ends every wait made on its behalf, on whatever
// fiber; a scope that the request's fiber cannot outlive; a pool that rejects what is too much; a select with a
// timeout; a blocking call marked as one. And a request that is known by its id all the way: its context goes along by itself to
// the fibers of the pool, and with the reservation through the channel, so that the inventory works for it as well.
//
// With `slow_every`, one in so many orders waits for a credit check that takes its time: what a flight recorder is for. With
// `error_every` the check of one in so many fails.
//
// With `leak`, every 10th order also hands a record to an audit log whose reader was forgotten: one fiber more that
// waits in a channel send for ever, as leaks do in real services.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_ORDER_SERVICE_H_
#define FIBERSCOPE_SERVER_EXAMPLE_ORDER_SERVICE_H_

#include <prometheus/histogram.h>

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/context.h"
#include "runtime/pool.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"
#include "server/example/http_front.h"
#include "server/example/instruments.h"
#include "server/example/order_log.h"
#include "server/example/outcomes.h"
#include "server/log/log.h"

namespace demo {

struct Order {
  uint64_t number = 0;
  std::string item;
  int quantity = 0;
};

// What is in stock. Thread-safe; fibers only.
class Store {
 public:
  Store();
  // How many are left afterwards. kFailedPrecondition: not enough.
  absl::StatusOr<int> Take(const std::string& item, int quantity);
  void PutBack(const std::string& item, int quantity);
  // Fills every shelf up again.
  void Restock();

 private:
  void FillShelves();

  fiberscope::Mutex mutex_{"store"};
  std::map<std::string, int> shelves_;  // GUARDED_BY(mutex_)
};

// What sells best. Ranks the latest orders anew for each, and holds its lock all the while: the mutex profile shows who does that.
class Ranking {
 public:
  void Add(const Order& order);

 private:
  static constexpr size_t kOrders = 500;

  fiberscope::Mutex mutex_{"ranking"};
  std::deque<Order> latest_;                          // GUARDED_BY(mutex_)
  std::vector<std::pair<std::string, int>> ranking_;  // GUARDED_BY(mutex_): items, the most wanted first
};

// The inventory's answer comes on one of two channels. There is room in each, so the inventory never waits for a
// reader.
struct Reply {
  fiberscope::Channel<int> left{1, "left"};
  fiberscope::Channel<absl::Status> refusal{1, "refusal"};
};

struct Reservation {
  Order order;
  fiberscope::Context context;   // of the request: once it is cancelled nobody waits for the answer
  std::shared_ptr<Reply> reply;  // shared with whoever asks, who may have gone by the time of the answer
  int left = 0;
};

class OrderService {
 public:
  struct Options {
    boost::asio::ip::tcp::endpoint endpoint = {};
    bool leak = false;
    uint64_t slow_every = 0;  // one in so many orders takes `slow_by` longer; 0: none does
    std::chrono::nanoseconds slow_by{0};
    uint64_t error_every = 0;
    uint32_t order_workers = 4;
    size_t order_queue = 64;
    std::chrono::nanoseconds request_timeout = std::chrono::seconds(2);
    std::chrono::nanoseconds inventory_timeout = std::chrono::seconds(1);
  };

  OrderService(fiberscope::Scheduler& scheduler, OrderLog log, const Instruments& instruments, const Options& options);

  // Binds and spawns the service's fibers; they run until the scheduler stops. The address it listens on.
  absl::StatusOr<boost::asio::ip::tcp::endpoint> Start();

  uint64_t requests() const { return next_order_.load(std::memory_order_relaxed); }

 private:
  void AcceptConnections();
  void ServeConnection(boost::asio::ip::tcp::socket socket);
  void Answer(const HttpRequest& request, HttpResponse& response);
  void Tell(const Order& order, const absl::StatusOr<int>& left, const HttpResponse& response);
  absl::StatusOr<int> AwaitOrder(const Order& order);
  absl::StatusOr<int> PlaceOrder(const Order& order);
  absl::Status CheckCredit(const Order& order) const;
  void RunInventory();
  void ReserveAndLog(std::vector<Reservation> batch);
  void RunHousekeeper();
  void Audit(uint64_t order);

  fiberscope::Scheduler& scheduler_;
  fiberscope::server::RequestRegistry& requests_;
  const fiberscope::log::Logger logger_;
  const fiberscope::log::Logger inventory_logger_;
  Outcomes outcomes_;
  prometheus::Histogram& batch_orders_;
  const Options options_;
  boost::asio::ip::tcp::acceptor acceptor_;
  OrderLog log_;  // the inventory's
  Store store_;
  Ranking ranking_;
  fiberscope::Channel<Reservation> reservations_{0, "reservations"};
  fiberscope::Channel<uint64_t> audit_log_{0, "audit-log"};
  std::atomic<uint64_t> next_order_{0};
  fiberscope::Pool order_workers_;  // its tasks use the rest, so it goes first
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_ORDER_SERVICE_H_
