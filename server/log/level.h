// How important a line is, in zap's words.
#ifndef FIBERSCOPE_SERVER_LOG_LEVEL_H_
#define FIBERSCOPE_SERVER_LOG_LEVEL_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace fiberscope::log {

enum class Level : uint8_t { kDebug, kInfo, kWarn, kError };

inline constexpr std::array<std::string_view, 4> kLevelNames = {"debug", "info", "warn", "error"};

constexpr std::string_view LevelName(Level level) { return kLevelNames[static_cast<size_t>(level)]; }

// By its name, in lower case. Nothing: there is no such level.
constexpr std::optional<Level> ParseLevel(std::string_view name) {
  for (size_t i = 0; i < kLevelNames.size(); ++i) {
    if (kLevelNames[i] == name) return static_cast<Level>(i);
  }
  return std::nullopt;
}

}  // namespace fiberscope::log

#endif  // FIBERSCOPE_SERVER_LOG_LEVEL_H_
