// Variables that a program shows of itself: a number, a text, a map of these, or what a function says. As Go's package expvar.
//
// Publish them with a VarRegistry (var_registry.h). To be aggregated over many processes and drawn over time a figure belongs in
// /metrics as well; a variable is for the reader of one process.
#ifndef FIBERSCOPE_SERVER_VARS_VAR_H_
#define FIBERSCOPE_SERVER_VARS_VAR_H_

#include <atomic>
#include <boost/json/value.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace fiberscope::server {

// Thread-safe, like all that follow. Resource: neither copied nor moved.
class Var {
 public:
  Var() = default;
  virtual ~Var() = default;
  Var(const Var&) = delete;
  Var& operator=(const Var&) = delete;

  // Appends the value as one JSON value on one line.
  virtual void AppendTo(std::string& json) const = 0;
};

// Never blocks. Cost: one atomic operation.
class IntVar : public Var {
 public:
  void Add(int64_t delta) { value_.fetch_add(delta, std::memory_order_relaxed); }
  void Set(int64_t value) { value_.store(value, std::memory_order_relaxed); }
  int64_t value() const { return value_.load(std::memory_order_relaxed); }
  void AppendTo(std::string& json) const override;

 private:
  std::atomic<int64_t> value_{0};
};

// Never blocks. Infinities and NaN are shown as null, for which Go writes what is no JSON.
class FloatVar : public Var {
 public:
  void Add(double delta) { value_.fetch_add(delta, std::memory_order_relaxed); }
  void Set(double value) { value_.store(value, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }
  void AppendTo(std::string& json) const override;

 private:
  std::atomic<double> value_{0};
};

// Arbitrary bytes; those that are no UTF-8 are shown as U+FFFD. Blocks the thread for a copy of the text.
class StringVar : public Var {
 public:
  void Set(std::string_view value);
  std::string value() const;
  void AppendTo(std::string& json) const override;

 private:
  mutable std::mutex mutex_;
  std::string value_;  // GUARDED_BY(mutex_)
};

// Variables by name, sorted; keys are arbitrary bytes. The keys stay until they are deleted, so they must be few: not one per
// user or request. Blocks the thread for a few instructions. Cost of Add: a lock and a look-up.
class MapVar : public Var {
 public:
  // To the number under `key`, which is made if there is nothing. False: something else is there, and stays as it is.
  bool Add(std::string_view key, int64_t delta);
  bool AddFloat(std::string_view key, double delta);
  // In place of what is there. Null: nothing is.
  void Set(std::string_view key, std::shared_ptr<Var> var);
  // Null: nothing is there.
  std::shared_ptr<Var> Get(std::string_view key) const;
  void Delete(std::string_view key) { Set(key, nullptr); }
  void Clear();
  // A map must not contain itself.
  void AppendTo(std::string& json) const override;

 private:
  template <typename V, typename D>
  bool AddTo(std::string_view key, D delta);

  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Var>, std::less<>> vars_;  // GUARDED_BY(mutex_)
};

// What a function says, each time somebody looks. It runs on a thread of the debug server, on several at once if several look,
// and may block it for a while; it must be callable for as long as the variable is published. If it throws, null is shown.
class FuncVar : public Var {
 public:
  explicit FuncVar(std::function<boost::json::value()> function);
  void AppendTo(std::string& json) const override;

 private:
  const std::function<boost::json::value()> function_;
};

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_VARS_VAR_H_
