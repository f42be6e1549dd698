#include "server/metrics/runtime_collector.h"

#include <prometheus/text_serializer.h>

#include <chrono>
#include <set>
#include <string>

#include "gtest/gtest.h"
#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"

namespace fiberscope::server {
namespace {

std::string Text(const std::vector<prometheus::MetricFamily>& families) {
  return prometheus::TextSerializer().Serialize(families);
}

bool Has(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

RuntimeFigures Figures() {
  RuntimeFigures figures;
  figures.fibers = 8;
  figures.threads = 11;
  figures.census.by_state[static_cast<size_t>(FiberState::kWaiting)] = 5;
  figures.census.by_state[static_cast<size_t>(FiberState::kBlocking)] = 2;
  figures.census.by_state[static_cast<size_t>(FiberState::kRunnable)] = 1;
  figures.census.by_reason[static_cast<size_t>(WaitReason::kIo)] = {.fibers = 5, .longest = std::chrono::milliseconds(2500)};
  figures.census.blocking = {.fibers = 2, .longest = std::chrono::seconds(3)};
  figures.census.stack_bytes = 61440;
  NamedMetrics one{.name = "one", .processors = 4, .metrics = {}};
  one.metrics.processors.resize(2);
  one.metrics.processors[0].state = ProcessorState::kRunning;
  figures.metrics.schedulers = {one, {.name = "two", .processors = 2, .metrics = {}}};
  SchedulerMetrics& totals = figures.metrics.totals;
  totals.spawned = 108;
  totals.finished = 100;
  totals.switches = 1000;
  totals.queued = 7;
  totals.shared_queued = 3;
  totals.steals = 9;
  totals.stalls_blocked = 1;
  totals.workers = 6;
  figures.malformed = {.request_ids = 3, .traceparents = 4};
  totals.scheduling_latency.counts[0] = 1;    // below 1 ns
  totals.scheduling_latency.counts[10] = 2;   // below 1024 ns
  totals.scheduling_latency.counts[11] = 4;   // below 2048 ns
  totals.scheduling_latency.counts[39] = 8;   // longer than all
  totals.scheduling_latency.sum = std::chrono::milliseconds(1500);
  DurationHistogram& listings = figures.pauses.by_kind[static_cast<size_t>(PauseKind::kListing)];
  listings.counts[15] = 3;  // below 32768 ns
  listings.sum = std::chrono::microseconds(75);
  figures.metrics.stacks = {.guards = "mprotect", .ready = 1024, .ready_bytes = 67108864, .unguarded = 24};
  return figures;
}

TEST(RuntimeFamiliesTest, HasGosNamesAndTypes) {
  const std::string text = Text(RuntimeFamilies(Figures()));
  for (const char* line : {
           "# TYPE go_goroutines gauge",
           "go_goroutines 8",
           "go_threads 11",
           "go_info{version=\"fiberscope\"} 1",
           "go_sched_gomaxprocs_threads 6",
           "go_sched_goroutines_runnable_goroutines 1",
           "go_sched_goroutines_waiting_goroutines 5",
           "go_sched_goroutines_not_in_go_goroutines 2",
           "# TYPE go_sched_goroutines_created_goroutines_total counter",
           "go_sched_goroutines_created_goroutines_total 108",
           "# TYPE go_gc_duration_seconds summary",
           "go_gc_duration_seconds_count 0",
           "go_gc_duration_seconds{quantile=\"0.25\"} Nan",
           "go_memstats_stack_inuse_bytes 61440",
           "go_memstats_stack_sys_bytes 67108864",
           "go_memstats_gc_sys_bytes 0",
       }) {
    EXPECT_TRUE(Has(text, line)) << line << "\n" << text;
  }
}

TEST(RuntimeFamiliesTest, HasPausesByKind) {
  const std::string text = Text(RuntimeFamilies(Figures()));
  for (const char* line : {
           "fiber_pauses_total{kind=\"listing\"} 3",
           "fiber_pauses_total{kind=\"stall blocked\"} 0",
           "fiber_pause_seconds_total{kind=\"memory release\"} 0",
           "# TYPE go_sched_pauses_total_other_seconds histogram",
           "go_sched_pauses_total_other_seconds_count 3",
       }) {
    EXPECT_TRUE(Has(text, line)) << line << "\n" << text;
  }
}

TEST(RuntimeFamiliesTest, BucketsAreCumulative) {
  const std::string text = Text(RuntimeFamilies(Figures()));
  for (const char* line : {
           "# TYPE go_sched_latencies_seconds histogram",
           "go_sched_latencies_seconds_count 15",
           "go_sched_latencies_seconds_sum 1.5",
           "go_sched_latencies_seconds_bucket{le=\"1.024e-06\"} 3",
           "go_sched_latencies_seconds_bucket{le=\"2.048e-06\"} 7",
           "go_sched_latencies_seconds_bucket{le=\"17.179869184\"} 7",
           "go_sched_latencies_seconds_bucket{le=\"+Inf\"} 15",
           "fiber_run_slice_seconds_count 0",
       }) {
    EXPECT_TRUE(Has(text, line)) << line << "\n" << text;
  }
}

TEST(RuntimeFamiliesTest, TellsWhatGoDoesNot) {
  const std::string text = Text(RuntimeFamilies(Figures()));
  for (const char* line : {
           "fiber_fibers{state=\"waiting\"} 5",
           "fiber_fibers{state=\"new\"} 0",
           "fiber_waiting{reason=\"io\"} 5",
           "fiber_waiting{reason=\"barrier\"} 0",
           "fiber_oldest_wait_seconds{reason=\"io\"} 2.5",
           "fiber_oldest_wait_seconds{reason=\"blocking call\"} 3",
           "fiber_finished_total 100",
           "fiber_switches_total 1000",
           "fiber_queue_depth{queue=\"processor\"} 4",
           "fiber_queue_depth{queue=\"shared\"} 3",
           "fiber_steals_total 9",
           "fiber_processors{state=\"running\"} 1",
           "fiber_processors{state=\"idle\"} 1",
           "fiber_processors{state=\"blocking\"} 0",
           "fiber_workers 6",
           "fiber_stalls_total{kind=\"blocked\"} 1",
           "fiber_stacks{kind=\"unguarded\"} 24",
           "fiber_stack_bytes{kind=\"in use\"} 61440",
           "fiber_stack_guards_info{mode=\"mprotect\"} 1",
           "fiber_lost_total{what=\"trace events\"} 0",
           "# TYPE fiber_malformed_identities_total counter",
           "fiber_malformed_identities_total{field=\"x-request-id\"} 3",
           "fiber_malformed_identities_total{field=\"traceparent\"} 4",
           "fiber_malformed_identities_total{field=\"tracestate\"} 0",
       }) {
    EXPECT_TRUE(Has(text, line)) << line << "\n" << text;
  }
}

TEST(RuntimeFamiliesTest, TellsPoolsByName) {
  RuntimeFigures figures;
  EXPECT_EQ(Text(RuntimeFamilies(figures)).find("fiber_pool"), std::string::npos);
  figures.pools = {{.name = "a", .pools = 2, .fibers = 8, .metrics = {}}, {.name = "b", .pools = 1, .fibers = 1, .metrics = {}}};
  figures.pools[0].metrics.submitted = 7;
  figures.pools[0].metrics.queued = 3;
  figures.pools[1].metrics.wait_ns_buckets[11] = 5;
  figures.pools[1].metrics.wait_ns_sum = 7500;
  const std::string text = Text(RuntimeFamilies(figures));
  for (const char* line : {
           "fiber_pool_fibers{pool=\"a\"} 8",
           "fiber_pool_queued{pool=\"a\"} 3",
           "fiber_pool_queued{pool=\"b\"} 0",
           "# TYPE fiber_pool_submitted_total counter",
           "fiber_pool_submitted_total{pool=\"a\"} 7",
           "fiber_pool_wait_seconds_bucket{pool=\"b\",le=\"1.024e-06\"} 0",
           "fiber_pool_wait_seconds_bucket{pool=\"b\",le=\"2.048e-06\"} 5",
           "fiber_pool_wait_seconds_sum{pool=\"b\"} 7.5e-06",
           "fiber_pool_wait_seconds_count{pool=\"a\"} 0",
       }) {
    EXPECT_TRUE(Has(text, line)) << line << "\n" << text;
  }
}

TEST(RuntimeFamiliesTest, LeavesOutWhatIsNotKnown) {
  RuntimeFigures figures = Figures();
  const std::string without = Text(RuntimeFamilies(figures));
  for (const char* name : {"go_memstats_heap_alloc_bytes", "go_memstats_mallocs_total", "go_memstats_sys_bytes",
                           "go_memstats_next_gc_bytes", "fiber_contention", "go_sync_mutex", "block events", "heap samples"}) {
    EXPECT_EQ(without.find(name), std::string::npos) << name;
  }
  figures.memory.heap = pprof::HeapStats{.allocated = 100, .system = 1000, .free = 200, .released = 300, .thread_caches = 7};
  figures.memory.allocations = pprof::Allocations{.objects = 50, .bytes = 5000, .freed_objects = 40, .lost_samples = 2};
  figures.mutex = ContentionTotals{.count = 2.5, .delay = std::chrono::milliseconds(250), .lost = 1};
  const std::string with = Text(RuntimeFamilies(figures));
  for (const char* line : {
           "go_memstats_heap_alloc_bytes 100",
           "go_memstats_alloc_bytes 100",
           "# TYPE go_memstats_alloc_bytes_total counter",
           "go_memstats_alloc_bytes_total 5000",
           "go_memstats_mallocs_total 50",
           "go_memstats_heap_objects 10",
           "go_memstats_sys_bytes 67109864",
           "fiber_contention_waits_total{profile=\"mutex\"} 2.5",
           "fiber_contention_wait_seconds_total{profile=\"mutex\"} 0.25",
           "go_sync_mutex_wait_total_seconds_total 0.25",
           "fiber_lost_total{what=\"mutex events\"} 1",
           "fiber_lost_total{what=\"heap samples\"} 2",
       }) {
    EXPECT_TRUE(Has(with, line)) << line << "\n" << with;
  }
  EXPECT_EQ(with.find("profile=\"block\""), std::string::npos);
}

TEST(RuntimeCollectorTest, ShowsTheProcess) {
  Scheduler scheduler({.processors = 2});
  Channel<int> channel;
  std::vector<Fiber> fibers;
  for (int i = 0; i < 3; ++i) fibers.push_back(scheduler.Spawn([&] { (void)channel.Receive(); }));
  for (const Fiber& fiber : fibers) {
    while (fiber.state() != FiberState::kWaiting) sched_yield();
  }
  const std::string text = Text(RuntimeCollector().Collect());
  EXPECT_TRUE(Has(text, "go_goroutines 3")) << text;
  EXPECT_TRUE(Has(text, "fiber_waiting{reason=\"channel receive\"} 3")) << text;
  EXPECT_TRUE(Has(text, "go_sched_gomaxprocs_threads 2")) << text;
  EXPECT_NE(text.find("\nfiber_scrape_seconds "), std::string::npos) << text;
  channel.Close();
  for (Fiber& fiber : fibers) fiber.Join();
}

// However many fibers there are, and whatever they are called.
TEST(RuntimeCollectorTest, HasFewSeries) {
  size_t series = 0;
  std::set<std::string> names;
  for (const prometheus::MetricFamily& family : RuntimeCollector().Collect()) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name << " is there twice";
    EXPECT_FALSE(family.help.empty()) << family.name;
    series += family.metric.size();
  }
  EXPECT_LT(series, 120u);
}

}  // namespace
}  // namespace fiberscope::server
