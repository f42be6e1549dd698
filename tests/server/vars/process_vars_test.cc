#include "server/vars/process_vars.h"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <string>

#include "gtest/gtest.h"
#include "runtime/pool.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"
#include "server/render/json.h"

namespace fiberscope::server {
namespace {

std::string Text(const boost::json::value& value) {
  std::string text;
  AppendJson(value, text);
  return text;
}

TEST(MemStatsJsonTest, HasGosFieldsAndNullForWhatIsNotKnown) {
  EXPECT_EQ(Text(MemStatsJson({.stack_inuse = 5, .stack_sys = 6})),
            R"({"Alloc":null,"TotalAlloc":null,"Sys":null,"Lookups":0,"Mallocs":null,"Frees":null,"HeapAlloc":null,"HeapSys":null,)"
            R"("HeapIdle":null,"HeapInuse":null,"HeapReleased":null,"HeapObjects":null,"StackInuse":5,"StackSys":6,)"
            R"("MSpanInuse":null,"MSpanSys":null,"MCacheInuse":null,"MCacheSys":null,"BuckHashSys":null,"GCSys":0,"OtherSys":null,)"
            R"("NextGC":null,"LastGC":0,"PauseTotalNs":0,"PauseNs":[],"PauseEnd":[],"NumGC":0,"NumForcedGC":0,"GCCPUFraction":0,)"
            R"("EnableGC":false,"DebugGC":false,"BySize":[]})");
}

TEST(MakeMemStatsTest, MapsTheAllocatorsFigures) {
  const pprof::MemoryStats memory{
      .heap = pprof::HeapStats{.allocated = 100, .system = 1000, .free = 200, .released = 300, .thread_caches = 7},
      .allocations = pprof::Allocations{.objects = 50, .bytes = 5000, .freed_objects = 40}};
  FiberCensus census;
  census.stack_bytes = 60;
  const MemStats stats = MakeMemStats(memory, census, {.guards = "none", .ready = 2, .ready_bytes = 80, .unguarded = 2});
  EXPECT_EQ(stats.heap_alloc, 100u);
  EXPECT_EQ(stats.heap_sys, 1000u);
  EXPECT_EQ(stats.heap_idle, 500u);
  EXPECT_EQ(stats.heap_inuse, 500u);
  EXPECT_EQ(stats.heap_released, 300u);
  EXPECT_EQ(stats.mcache_inuse, 7u);
  EXPECT_EQ(stats.sys, 1080u);
  EXPECT_EQ(stats.total_alloc, 5000u);
  EXPECT_EQ(stats.mallocs, 50u);
  EXPECT_EQ(stats.frees, 40u);
  EXPECT_EQ(stats.heap_objects, 10u);
  EXPECT_EQ(stats.stack_inuse, 60u);
  EXPECT_EQ(stats.stack_sys, 80u);
}

TEST(ProcessVarsTest, ShowTheProcess) {
  Scheduler scheduler({.processors = 2, .name = "shop"});
  const Pool pool(scheduler, {.fibers = 3, .name = "thumbnails"});
  Channel<int> channel;
  Fiber fiber = scheduler.Spawn([&] { (void)channel.Receive(); });
  while (fiber.state() != FiberState::kWaiting) sched_yield();

  VarRegistry registry;
  PublishProcessVars(registry);
  const boost::json::object all = boost::json::parse(registry.Json()).as_object();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_NE(all.at("cmdline").as_array().at(0).as_string().find("process_vars_test"), std::string::npos);
  EXPECT_GT(all.at("memstats").at("StackInuse").to_number<int64_t>(), 0);
  const boost::json::object& mine = all.at("fiberscope").as_object();
  EXPECT_EQ(mine.at("fibers").at("alive").to_number<int>(), 1);
  EXPECT_EQ(mine.at("fibers").at("by_state").at("waiting").to_number<int>(), 1);
  EXPECT_EQ(mine.at("fibers").at("waiting_for").at("channel receive").to_number<int>(), 1);
  EXPECT_GE(mine.at("fibers").at("longest_wait_seconds").at("channel receive").to_number<double>(), 0);
  EXPECT_GE(mine.at("stacks").at("ready").to_number<int>(), 1);
  const boost::json::object& shop = mine.at("schedulers").at(0).as_object();
  EXPECT_EQ(shop.at("name").as_string(), "shop");
  EXPECT_EQ(shop.at("processors").to_number<int>(), 2);
  EXPECT_EQ(shop.at("fibers").to_number<int>(), 1);
  const boost::json::object& thumbnails = mine.at("pools").at(0).as_object();
  EXPECT_EQ(thumbnails.at("name").as_string(), "thumbnails");
  EXPECT_EQ(thumbnails.at("fibers").to_number<int>(), 3);
  EXPECT_EQ(mine.at("malformed_identities").at("traceparents").to_number<int>(), 0);
  AcceptRequest({.traceparent = "00-"});
  EXPECT_EQ(boost::json::parse(registry.Json()).at("fiberscope").at("malformed_identities").at("traceparents").to_number<int>(), 1);

  channel.Close();
  fiber.Join();
}

TEST(FiberscopeJsonTest, ShowsPausesInTheMannerOfReadGCStats) {
  const auto at = [](int64_t seconds) { return std::chrono::system_clock::time_point(std::chrono::seconds(seconds)); };
  PauseLog log;
  log.Add({.kind = PauseKind::kListing, .end = at(1'700'000'000), .duration = std::chrono::microseconds(20)});
  log.Add({.kind = PauseKind::kStallBlocked, .end = at(1'700'000'001), .duration = std::chrono::milliseconds(500)});
  const boost::json::value pauses = FiberscopeJson({}, {}, {}, log.Read(), {}).at("pauses");
  EXPECT_EQ(Text(pauses),
            R"({"count":2,"total_seconds":0.50002,"quantiles_seconds":[0.00002,0.00002,0.5,0.5,0.5],"by_kind":{)"
            R"("listing":{"count":1,"total_seconds":0.00002,"quantiles_seconds":[0.00002,0.00002,0.00002,0.00002,0.00002]},)"
            R"("stall blocked":{"count":1,"total_seconds":0.5,"quantiles_seconds":[0.5,0.5,0.5,0.5,0.5]},)"
            R"("stall computing":{"count":0,"total_seconds":0,"quantiles_seconds":null},)"
            R"("memory release":{"count":0,"total_seconds":0,"quantiles_seconds":null}},)"
            R"("latest":[{"kind":"stall blocked","end":1700000001,"seconds":0.5},)"
            R"({"kind":"listing","end":1700000000,"seconds":0.00002}]})");
}

TEST(ProcessVarsTest, LeaveTakenNamesAlone) {
  VarRegistry registry;
  (*registry.NewInt("cmdline"))->Add(1);
  PublishProcessVars(registry);
  PublishProcessVars(registry);
  EXPECT_EQ(boost::json::parse(registry.Json()).at("cmdline").to_number<int>(), 1);
}

}  // namespace
}  // namespace fiberscope::server
