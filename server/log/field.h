// A typed key and value of a log line. Refers to what it is given: made in the call that logs it, and gone with it.
//
//   log::Info("order placed", {{"order", 7}, {"item", name}, {"took", elapsed}, {"status", status}});
#ifndef FIBERSCOPE_SERVER_LOG_FIELD_H_
#define FIBERSCOPE_SERVER_LOG_FIELD_H_

#include <chrono>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace fiberscope::log {

// Small, and trivial to copy: log.h relies on that.
class Field {
 public:
  enum class Kind : uint32_t { kInt, kUint, kDouble, kBool, kString, kDuration, kStatus };

  // `bool` and the integers are told apart: neither becomes the other.
  template <std::same_as<bool> T>
  constexpr Field(std::string_view key, T value) : Field(key, Kind::kBool) { boolean_ = value; }
  template <std::signed_integral T>
  constexpr Field(std::string_view key, T value) : Field(key, Kind::kInt) { integer_ = value; }
  template <std::unsigned_integral T>
    requires(!std::same_as<T, bool>)
  constexpr Field(std::string_view key, T value) : Field(key, Kind::kUint) { unsigned_integer_ = value; }
  constexpr Field(std::string_view key, double value) : Field(key, Kind::kDouble) { real_ = value; }
  constexpr Field(std::string_view key, std::string_view value) : Field(key, Kind::kString) {
    text_ = value.data();
    text_bytes_ = value.size();
  }
  constexpr Field(std::string_view key, const char* value) : Field(key, std::string_view(value)) {}
  Field(std::string_view key, const std::string& value) : Field(key, std::string_view(value)) {}
  // Written as seconds, as zap does.
  constexpr Field(std::string_view key, std::chrono::nanoseconds value) : Field(key, Kind::kDuration) { integer_ = value.count(); }
  // Written as "NOT_FOUND: no such order", or "OK".
  Field(std::string_view key, const absl::Status& value) : Field(key, Kind::kStatus) { status_ = &value; }

  std::string_view key() const { return {key_, key_bytes_}; }
  Kind kind() const { return kind_; }
  // Each for fields of its kind only.
  int64_t integer() const { return integer_; }  // kDuration: nanoseconds
  uint64_t unsigned_integer() const { return unsigned_integer_; }
  double real() const { return real_; }
  bool boolean() const { return boolean_; }
  std::string_view string() const { return {text_, text_bytes_}; }
  const absl::Status& status() const { return *status_; }

 private:
  constexpr Field(std::string_view key, Kind kind)
      : key_(key.data()), key_bytes_(static_cast<uint32_t>(key.size())), kind_(kind), integer_(0) {}

  const char* key_;
  uint32_t key_bytes_;
  Kind kind_;
  union {
    int64_t integer_;
    uint64_t unsigned_integer_;
    double real_;
    bool boolean_;
    const char* text_;
    const absl::Status* status_;
  };
  size_t text_bytes_;  // kString only
};

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_FIELD_H_
