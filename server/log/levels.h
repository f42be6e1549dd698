// From which level on lines are written: one level for all, and others for modules.
//
// A module is a name with slashes, such as "orders/inventory". The level that is set for the longest prefix of it counts: for
// "orders/inventory", else for "orders", else the one for all (""). A prefix ends where a slash is: "ord" is none of "orders".
//
// Thread-safe. Cost of asking whether a level is on: one load and a comparison, see Module::On(). Setting a level blocks the thread
// for a few microseconds.
#ifndef FIBERSCOPE_SERVER_LOG_LEVELS_H_
#define FIBERSCOPE_SERVER_LOG_LEVELS_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "server/log/level.h"

namespace fiberscope::log {

class Levels {
 public:
  // What a logger looks at. Lives as long as its Levels; never copied nor moved.
  class Module {
   public:
    Module(std::string name, Level level) : name_(std::move(name)), level_(level) {}

    const std::string& name() const { return name_; }
    Level level() const { return level_.load(std::memory_order_relaxed); }
    bool On(Level level) const { return level >= this->level(); }

   private:
    friend class Levels;
    const std::string name_;
    std::atomic<Level> level_;  // written under mutex_; nothing is published with it
  };

  static constexpr size_t kMaxNameBytes = 256;
  static constexpr size_t kMaxSet = 1000;

  explicit Levels(Level level);
  Levels(const Levels&) = delete;
  Levels& operator=(const Levels&) = delete;

  // The module of that name; "" is the one for all. The same name, the same object. They are never given back: name modules, not
  // requests.
  Module& Get(std::string_view name);

  // The level that counts for that module, whether or not anybody has asked for it yet.
  Level Of(std::string_view module) const;
  // Sets it for that module and those below it that have none of their own; for all if it is "". kInvalidArgument: the name has
  // more than kMaxNameBytes. kResourceExhausted: kMaxSet modules have levels of their own already. Nothing has changed then.
  absl::Status Set(std::string_view module, Level level);
  // Takes back what was set for that module; it has the level of the one above again. Without effect on "".
  void Inherit(std::string_view module);

 private:
  Level Find(std::string_view module) const;  // mutex_ held
  void Refresh();                             // mutex_ held

  mutable std::mutex mutex_;
  std::map<std::string, Level, std::less<>> set_;  // GUARDED_BY(mutex_), as modules_; always has ""
  std::map<std::string, std::unique_ptr<Module>, std::less<>> modules_;
};

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_LEVELS_H_
