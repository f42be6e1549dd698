// The file that orders are written to before they are confirmed.
//
// Fiber-only to append, one fiber at a time. Resource: movable; its end closes the file and removes what Create made.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_ORDER_LOG_H_
#define FIBERSCOPE_SERVER_EXAMPLE_ORDER_LOG_H_

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace demo {

class OrderLog {
 public:
  // A new file in a temporary directory of its own, made in `parent`. The error names what was attempted.
  static absl::StatusOr<OrderLog> Create(const std::string& parent);

  // Takes over an open file.
  explicit OrderLog(int file) : file_(file) {}
  OrderLog(OrderLog&& other) noexcept
      : file_(std::exchange(other.file_, -1)), directory_(std::exchange(other.directory_, "")) {}
  OrderLog& operator=(OrderLog&&) = delete;
  ~OrderLog();

  // Returns when the lines are on the disk. Meanwhile the fiber is in state kBlocking, and others run.
  absl::Status Append(std::string_view lines);

  // "" if it was not made by Create.
  std::string path() const { return directory_.empty() ? "" : directory_ + "/orders.log"; }

 private:
  int file_;
  std::string directory_;  // "": not ours
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_ORDER_LOG_H_
