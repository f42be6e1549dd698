// The variables of a process by name: what GET /debug/vars shows.
//
//   absl::StatusOr<server::IntVar*> orders = (*debug_server)->vars().NewInt("orders");
//   ...
//   (*orders)->Add(1);
//
// There is no registry of the process, and nothing publishes itself: main() makes one, or the DebugServer does.
#ifndef FIBERSCOPE_SERVER_VARS_VAR_REGISTRY_H_
#define FIBERSCOPE_SERVER_VARS_VAR_REGISTRY_H_

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/vars/var.h"

namespace fiberscope::server {

// Thread-safe: published and read at any time. Blocks the thread for a few instructions. Resource: neither copied nor moved.
class VarRegistry {
 public:
  VarRegistry() = default;
  VarRegistry(const VarRegistry&) = delete;
  VarRegistry& operator=(const VarRegistry&) = delete;

  // A new variable of that name, which lives as long as the registry: what was published stays. kAlreadyExists when the name is
  // taken; kInvalidArgument when it is empty, longer than 256 bytes, or has control characters or bytes that are no UTF-8. The
  // messages say what to do.
  absl::StatusOr<IntVar*> NewInt(std::string_view name) { return New<IntVar>(name); }
  absl::StatusOr<FloatVar*> NewFloat(std::string_view name) { return New<FloatVar>(name); }
  absl::StatusOr<StringVar*> NewString(std::string_view name) { return New<StringVar>(name); }
  absl::StatusOr<MapVar*> NewMap(std::string_view name) { return New<MapVar>(name); }
  // The same with a function (FuncVar), or with a variable of one's own, not null.
  absl::Status PublishFunc(std::string_view name, std::function<boost::json::value()> function);
  absl::Status Publish(std::string_view name, std::shared_ptr<Var> var);

  // Null: there is none.
  std::shared_ptr<Var> Find(std::string_view name) const;

  // All of them as one JSON object, sorted by name, one per line. Functions are called. Format: Go 1.27 expvar, Handler.
  std::string Json() const;

 private:
  template <typename V>
  absl::StatusOr<V*> New(std::string_view name) {
    auto var = std::make_shared<V>();
    V* const raw = var.get();
    if (absl::Status status = Publish(name, std::move(var)); !status.ok()) return status;
    return raw;
  }

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Var>, std::less<>> vars_;  // GUARDED_BY(mutex_)
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_VARS_VAR_REGISTRY_H_
