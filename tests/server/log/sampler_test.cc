#include "server/log/sampler.h"

#include <source_location>

#include "gtest/gtest.h"

namespace fiberscope::log {
namespace {

// How many of `count` lines from there get through in that second.
int Admitted(Sampler& sampler, int count, int64_t second, const std::source_location& where) {
  int admitted = 0;
  for (int i = 0; i < count; ++i) admitted += sampler.Admit(where, second) ? 1 : 0;
  return admitted;
}

TEST(SamplerTest, TheFirstOfASecondAndThenEverySoManyth) {
  Sampler sampler({.first = 3, .thereafter = 10});
  const auto here = std::source_location::current();
  EXPECT_EQ(Admitted(sampler, 3, 100, here), 3);
  EXPECT_EQ(Admitted(sampler, 9, 100, here), 0);
  EXPECT_TRUE(sampler.Admit(here, 100));  // the 13th
  EXPECT_EQ(Admitted(sampler, 30, 100, here), 3);
  EXPECT_EQ(Admitted(sampler, 5, 101, here), 3);  // begins anew
}

TEST(SamplerTest, PlacesAreCountedApart) {
  Sampler sampler({.first = 1, .thereafter = 0});
  const auto here = std::source_location::current();
  const auto there = std::source_location::current();
  EXPECT_EQ(Admitted(sampler, 100, 7, here), 1);
  EXPECT_EQ(Admitted(sampler, 100, 7, there), 1);
}

TEST(SamplerTest, IsOffUnlessAskedFor) {
  Sampler sampler({});
  EXPECT_EQ(Admitted(sampler, 1000, 7, std::source_location::current()), 1000);
}

}  // namespace
}  // namespace fiberscope::log
