#include "server/vars/var.h"

#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/render/json.h"

namespace fiberscope::server {

void IntVar::AppendTo(std::string& json) const { absl::StrAppend(&json, value()); }

// With an exponent below 1e-4 and from 1e6 on. Format: Go 1.23 expvar, Float.appendJSON, which is strconv's 'g'.
void FloatVar::AppendTo(std::string& json) const {
  const double number = value();
  if (!std::isfinite(number)) {
    json += "null";
    return;
  }
  const double size = std::abs(number);
  const bool plain = size == 0 || (size >= 1e-4 && size < 1e6);
  char buffer[32];
  const auto [end, error] = std::to_chars(std::begin(buffer), std::end(buffer), number,
                                          plain ? std::chars_format::fixed : std::chars_format::scientific);
  json.append(buffer, end);
}

void StringVar::Set(std::string_view value) {
  std::string copy(value);
  const std::lock_guard lock(mutex_);
  value_.swap(copy);
}

std::string StringVar::value() const {
  const std::lock_guard lock(mutex_);
  return value_;
}

void StringVar::AppendTo(std::string& json) const { AppendJsonString(value(), json); }

template <typename V, typename D>
bool MapVar::AddTo(std::string_view key, D delta) {
  const std::lock_guard lock(mutex_);
  auto at = vars_.find(key);
  if (at == vars_.end()) at = vars_.emplace(key, std::make_shared<V>()).first;
  V* const number = dynamic_cast<V*>(at->second.get());
  if (number == nullptr) return false;
  number->Add(delta);
  return true;
}

bool MapVar::Add(std::string_view key, int64_t delta) { return AddTo<IntVar>(key, delta); }
bool MapVar::AddFloat(std::string_view key, double delta) { return AddTo<FloatVar>(key, delta); }

void MapVar::Set(std::string_view key, std::shared_ptr<Var> var) {
  // What is replaced dies after the lock: its destructor is the application's.
  const std::lock_guard lock(mutex_);
  const auto at = vars_.find(key);
  if (at != vars_.end()) {
    at->second.swap(var);
    if (at->second == nullptr) vars_.erase(at);
  } else if (var != nullptr) {
    vars_.emplace(key, std::move(var));
  }
}

std::shared_ptr<Var> MapVar::Get(std::string_view key) const {
  const std::lock_guard lock(mutex_);
  const auto at = vars_.find(key);
  return at == vars_.end() ? nullptr : at->second;
}

void MapVar::Clear() {
  decltype(vars_) gone;
  const std::lock_guard lock(mutex_);
  vars_.swap(gone);
}

void MapVar::AppendTo(std::string& json) const {
  std::vector<std::pair<std::string, std::shared_ptr<const Var>>> vars;
  {
    const std::lock_guard lock(mutex_);
    vars.assign(vars_.begin(), vars_.end());
  }
  json += '{';
  bool is_first = true;
  for (const auto& [key, var] : vars) {
    if (!std::exchange(is_first, false)) json += ", ";
    AppendJsonString(key, json);
    json += ": ";
    var->AppendTo(json);
  }
  json += '}';
}

FuncVar::FuncVar(std::function<boost::json::value()> function) : function_(std::move(function)) {}

void FuncVar::AppendTo(std::string& json) const {
  boost::json::value value;
  try {
    value = function_();
  } catch (...) {
    value = nullptr;
  }
  AppendJson(value, json);
}

}  // namespace fiberscope::server
