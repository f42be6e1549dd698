// A small order service, so that there is something real to look at: an HTTP front, two stages joined by channels, a store
// behind a mutex, a housekeeper.
//
//     connection ──spawn──► request ──orders──► order worker ──reservations──► inventory ──reply──► request
//     (one fiber each)      (one each)  (channel, 16)  (a pool of 4)    (channel, 0)     (one)   (channel, 1)
//
//   GET /order?item=apple&quantity=2   -> 200 {"order":17,"item":"apple","quantity":2}; 409 when sold out; 400 when malformed
//
// With `leak`, every 10th request also hands a record to an audit log whose reader was forgotten: one fiber more that waits in
// a channel send for ever, as leaks do in real services.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_ORDER_SERVICE_H_
#define FIBERSCOPE_SERVER_EXAMPLE_ORDER_SERVICE_H_

#include <atomic>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/mutex.h"

namespace demo {

// What is in stock. Thread-safe; fibers only.
class Store {
 public:
  Store();
  // False when there is not enough.
  bool Take(const std::string& item, int quantity);
  // Fills every shelf up again.
  void Restock();

 private:
  void FillShelves();

  fiberscope::Mutex mutex_{"store"};
  std::map<std::string, int> shelves_;  // GUARDED_BY(mutex_)
};

struct Reservation {
  std::string item;
  int quantity = 0;
  fiberscope::Channel<bool>* reply = nullptr;  // receives whether it was in stock
};

struct Order {
  uint64_t number = 0;
  Reservation reservation;
};

class OrderService {
 public:
  struct Options {
    boost::asio::ip::tcp::endpoint endpoint;
    bool leak = false;
  };

  OrderService(fiberscope::Scheduler& scheduler, const Options& options);

  // Binds and spawns the service's fibers; they run until the scheduler stops. The address it listens on.
  absl::StatusOr<boost::asio::ip::tcp::endpoint> Start();

  uint64_t requests() const { return next_order_.load(std::memory_order_relaxed); }

 private:
  void AcceptConnections();
  void ServeConnection(boost::asio::ip::tcp::socket socket);
  std::string PlaceOrder(std::string_view target, unsigned& status);
  void RunOrderWorker();
  void RunInventory();
  void RunHousekeeper();
  void Audit(uint64_t order);

  fiberscope::Scheduler& scheduler_;
  const Options options_;
  boost::asio::ip::tcp::acceptor acceptor_;
  Store store_;
  fiberscope::Channel<Order> orders_{16, "orders"};
  fiberscope::Channel<Reservation> reservations_{0, "reservations"};
  fiberscope::Channel<uint64_t> audit_log_{0, "audit-log"};
  std::atomic<uint64_t> next_order_{0};
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_ORDER_SERVICE_H_
