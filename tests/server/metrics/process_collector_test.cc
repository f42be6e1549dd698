#include "server/metrics/process_collector.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <map>
#include <string>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

std::map<std::string, double> Values() {
  std::map<std::string, double> values;
  for (const prometheus::MetricFamily& family : ProcessCollector().Collect()) {
    const prometheus::ClientMetric& metric = family.metric.at(0);
    values[family.name] = family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
  }
  return values;
}

TEST(ProcessCollectorTest, AgreesWithTheKernel) {
  auto values = Values();
  const double cpu_seconds = static_cast<double>(clock()) / CLOCKS_PER_SEC;
  EXPECT_GT(values.at("process_cpu_seconds_total"), 0);
  EXPECT_LE(values.at("process_cpu_seconds_total"), cpu_seconds + 0.001);
  EXPECT_GT(values.at("process_resident_memory_bytes"), 1e6);
  EXPECT_GT(values.at("process_virtual_memory_bytes"), values.at("process_resident_memory_bytes"));
  EXPECT_LE(values.at("process_start_time_seconds"), static_cast<double>(time(nullptr)) + 1);
  EXPECT_GE(values.at("process_start_time_seconds"), static_cast<double>(time(nullptr)) - 3600);
  rlimit limit = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(values.at("process_max_fds"), static_cast<double>(limit.rlim_cur));
  EXPECT_TRUE(values.contains("process_virtual_memory_max_bytes"));
}

TEST(ProcessCollectorTest, CountsOpenDescriptors) {
  const double before = Values().at("process_open_fds");
  const int copy = dup(0);
  EXPECT_EQ(Values().at("process_open_fds"), before + 1);
  close(copy);
  EXPECT_EQ(Values().at("process_open_fds"), before);
}

TEST(StartTicksTest, IsFoundBehindAnyName) {
  const std::string rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n";
  for (const char* name : {"demo", "a b", "a) S 9 9 (b", ")", ""}) {
    EXPECT_EQ(StartTicks("123 (" + std::string(name) + ")" + rest), 4711u) << name;
  }
  for (const char* text : {"", "123", "123 (demo", "123 (demo) S 1 2",
                           "123 (demo) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"}) {
    EXPECT_EQ(StartTicks(text), std::nullopt) << text;
  }
}

TEST(ParseNetstatTest, FindsColumnsByName) {
  const auto bytes = ParseNetstat(
      "TcpExt: InOctets\nTcpExt: 1\n"
      "IpExt: InNoRoutes InOctets Other OutOctets\nIpExt: 1 22 3 44\n");
  ASSERT_TRUE(bytes.has_value());
  EXPECT_EQ(bytes->received, 22u);
  EXPECT_EQ(bytes->sent, 44u);
  for (const char* text : {"", "IpExt: InOctets OutOctets\n", "IpExt: InOctets OutOctets\nIpExt: 1\n",
                           "IpExt: InOctets\nIpExt: 1\n", "IpExt: InOctets OutOctets\nIpExt: 1 x\n"}) {
    EXPECT_FALSE(ParseNetstat(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace fiberscope::server
