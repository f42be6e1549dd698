#include "server/log/levels.h"

#include <string>

#include "gtest/gtest.h"

namespace fiberscope::log {
namespace {

TEST(LevelsTest, TheLevelOfTheLongestPrefixCounts) {
  Levels levels(Level::kInfo);
  ASSERT_TRUE(levels.Set("orders", Level::kWarn).ok());
  ASSERT_TRUE(levels.Set("orders/inventory/disk", Level::kDebug).ok());
  struct Row {
    const char* module;
    Level level;
  };
  static constexpr Row kRows[] = {
      {"", Level::kInfo},
      {"gateway", Level::kInfo},
      {"ord", Level::kInfo},
      {"orders", Level::kWarn},
      {"orders2", Level::kInfo},  // a prefix ends at a slash
      {"orders/inventory", Level::kWarn},
      {"orders/inventory/disk", Level::kDebug},
      {"orders/inventory/disk/queue", Level::kDebug},
      {"orders/inventory/diskette", Level::kWarn},
      {"/", Level::kInfo},
  };
  for (const Row& row : kRows) {
    EXPECT_EQ(levels.Of(row.module), row.level) << row.module;
    EXPECT_EQ(levels.Get(row.module).level(), row.level) << row.module;
  }
}

TEST(LevelsTest, LoggersSeeAChangeAtOnce) {
  Levels levels(Level::kInfo);
  const Levels::Module& all = levels.Get("");
  const Levels::Module& orders = levels.Get("orders");
  const Levels::Module& inventory = levels.Get("orders/inventory");
  EXPECT_FALSE(inventory.On(Level::kDebug));
  EXPECT_TRUE(inventory.On(Level::kInfo));
  ASSERT_TRUE(levels.Set("orders", Level::kDebug).ok());
  EXPECT_TRUE(inventory.On(Level::kDebug));
  EXPECT_FALSE(all.On(Level::kDebug));
  // The one for all does not touch what was set for a module, until that is taken back.
  ASSERT_TRUE(levels.Set("", Level::kError).ok());
  EXPECT_EQ(all.level(), Level::kError);
  EXPECT_EQ(orders.level(), Level::kDebug);
  levels.Inherit("orders");
  EXPECT_EQ(orders.level(), Level::kError);
  EXPECT_EQ(inventory.level(), Level::kError);
  levels.Inherit("");
  levels.Inherit("nobody");
  EXPECT_EQ(all.level(), Level::kError);
}

TEST(LevelsTest, AModuleIsOneObject) {
  Levels levels(Level::kInfo);
  EXPECT_EQ(&levels.Get("a"), &levels.Get(std::string("a")));
  EXPECT_EQ(levels.Get("a").name(), "a");
}

TEST(LevelsTest, NamesAndNumbersHaveALimit) {
  Levels levels(Level::kInfo);
  EXPECT_TRUE(levels.Set(std::string(Levels::kMaxNameBytes, 'x'), Level::kDebug).ok());
  EXPECT_EQ(levels.Set(std::string(Levels::kMaxNameBytes + 1, 'x'), Level::kDebug).code(), absl::StatusCode::kInvalidArgument);
  for (size_t i = 1; i < Levels::kMaxSet; ++i) ASSERT_TRUE(levels.Set("m" + std::to_string(i), Level::kDebug).ok());
  EXPECT_EQ(levels.Set("more", Level::kDebug).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(levels.Of("more"), Level::kInfo);
  EXPECT_TRUE(levels.Set("m1", Level::kWarn).ok());  // has one already
  levels.Inherit("m1");
  EXPECT_TRUE(levels.Set("more", Level::kDebug).ok());
}

TEST(LevelTest, NamesAreReadInLowerCaseOnly) {
  for (const std::string_view name : kLevelNames) EXPECT_EQ(LevelName(*ParseLevel(name)), name);
  for (const std::string_view name : {"", "INFO", "warning", "inf", "info "}) EXPECT_FALSE(ParseLevel(name).has_value()) << name;
}

}  // namespace
}  // namespace fiberscope::log
