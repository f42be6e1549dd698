#include "pprof/sources/heap_source.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "tests/testing/shop.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr uintptr_t kNew = 0x500011;      // operator new
constexpr uintptr_t kNameless = 0x500111; // between the allocator's functions

class HeapSourceTest : public testing::Test {
 protected:
  HeapSourceTest() {
    shop_.symbolizer().Function(0x500000, 0x500100, {.function = "operator new(unsigned long)", .system_name = "_Znwm"});
  }
  HeapSource Make(HeapSource::Kind kind = HeapSource::Kind::kHeap) {
    return {kind,
            shop_.symbolizer(),
            {.read = [this]() -> absl::StatusOr<HeapSnapshot> {
               if (!failure_.ok()) return failure_;
               return snapshot_;
             },
             .record_count = [this] { return static_cast<int64_t>(snapshot_.records.size()); },
             .stats = [] { return std::vector<std::pair<std::string, std::string>>{{"Alloc", "12"}, {"MCache", "1 / 2"}}; },
             .release_free_memory = [this] { ++released_; },
             .mappings = shop_.Inputs().mappings,
             .now = shop_.Inputs().now}};
  }
  std::string Text() {
    StringSink sink;
    EXPECT_TRUE(Make().WriteText(1, sink).ok());
    return sink.text();
  }

  Shop shop_;
  absl::Status failure_;
  int released_ = 0;
  // Two of one kilobyte, of which one has been freed; and one of one megabyte, on a fiber.
  HeapSnapshot snapshot_{
      .records = {{.stack = {kNameless, kNew, Shop::kWorker, Shop::kMain}, .size = 1'000, .taken = 1'024, .rate = 524'288,
                   .allocated = 2, .freed = 1},
                  {.stack = {kNew, Shop::kProcess, Shop::kRunWorker, Shop::kFiberMain, Shop::kTrampoline}, .size = 1 << 20,
                   .taken = 1 << 20, .rate = 524'288, .allocated = 1, .freed = 0}},
      .rate = 524'288,
      .lost = 0};
};

TEST_F(HeapSourceTest, EachSampleStandsForAllItIsASampleOf) {
  const absl::StatusOr<Profile> profile = Make().Collect();
  ASSERT_TRUE(profile.ok());
  ASSERT_THAT(profile->samples, SizeIs(2));
  // 1 / (1 - exp(-1024 / 524288)) = 512.5; 1 / (1 - exp(-2)) = 1.1565.
  EXPECT_THAT(profile->samples[0].values, ElementsAre(1'025, 1'025'000, 513, 512'500));
  EXPECT_THAT(profile->samples[1].values, ElementsAre(1, 1'212'697, 1, 1'212'697));
  ASSERT_THAT(profile->samples[0].labels, SizeIs(1));
  EXPECT_EQ(profile->Text(profile->samples[0].labels[0].key), "bytes");
  EXPECT_EQ(profile->samples[0].labels[0].number, 1'000);
  // Without the allocator, and without what is below the fiber's function.
  ASSERT_THAT(profile->samples[0].stack, SizeIs(2));
  EXPECT_EQ(profile->Get(profile->samples[0].stack[0]).address, Shop::kWorker - 1);
  ASSERT_THAT(profile->samples[1].stack, SizeIs(1));
  std::vector<std::string> types;
  for (const Profile::ValueType& type : profile->sample_types) {
    types.push_back(profile->Text(type.type) + "/" + profile->Text(type.unit));
  }
  EXPECT_THAT(types, ElementsAre("alloc_objects/count", "alloc_space/bytes", "inuse_objects/count", "inuse_space/bytes"));
  EXPECT_EQ(profile->Text(profile->default_sample_type), "");
  EXPECT_EQ(profile->Text(profile->period_type.type) + "/" + profile->Text(profile->period_type.unit), "space/bytes");
  EXPECT_EQ(profile->period, 524'288);
  EXPECT_THAT(profile->comments, IsEmpty());
  const absl::StatusOr<Profile> allocs = Make(HeapSource::Kind::kAllocs).Collect();
  EXPECT_EQ(allocs->Text(allocs->default_sample_type), "alloc_space");
  EXPECT_EQ(allocs->samples.size(), 2u);
}

TEST_F(HeapSourceTest, SamplesOfAnotherRateStandForWhatTheyDidThen) {
  snapshot_.records.push_back({.stack = {kNew, Shop::kWorker, Shop::kMain}, .size = 1'000, .taken = 1'024, .rate = 1,
                               .allocated = 10, .freed = 0});
  const absl::StatusOr<Profile> profile = Make().Collect();
  ASSERT_THAT(profile->samples, SizeIs(2));  // the same stack and size
  EXPECT_THAT(profile->samples[0].values, ElementsAre(1'035, 1'035'000, 523, 522'500));
}

TEST_F(HeapSourceTest, SaysThatItIsOffOrHasLost) {
  snapshot_.rate = 0;
  snapshot_.lost = 5;
  const absl::StatusOr<Profile> profile = Make().Collect();
  ASSERT_THAT(profile->comments, SizeIs(2));
  EXPECT_EQ(profile->Text(profile->comments[0]), "Sampling is off: SetHeapSampleRate().");
  EXPECT_EQ(profile->Text(profile->comments[1]), "5 samples are not in this profile");
  EXPECT_THAT(Text(), HasSubstr("\n# 5 samples are not in this profile\n"));
}

TEST_F(HeapSourceTest, TextIsGos) {
  const std::string text = Text();
  // Ascending by bytes in use, as counted.
  EXPECT_EQ(text.find("heap profile: 2: 1049576 [3: 1050576] @ heap/1048576\n1: 1000 [2: 2000] @ 0x403021 0x401019\n#\t0x403020\t"),
            0u)
      << text;
  EXPECT_THAT(text, HasSubstr("\n\n1: 1048576 [1: 1048576] @ 0x404031\n#\t0x404030\t"));
  EXPECT_THAT(text, HasSubstr("\n\n\n# runtime.MemStats\n# Alloc = 12\n# MCache = 1 / 2\n"));
  // Equal totals would be read as a profile of two columns.
  snapshot_.records.erase(snapshot_.records.begin());
  EXPECT_EQ(Text().find("heap profile: 1: 1048576 [1: 1048577] @ heap/1048576\n"), 0u);
}

TEST_F(HeapSourceTest, TheLegacyFormIsGperftools) {
  StringSink sink;
  ASSERT_TRUE(Make().WriteLegacy("maps\n", sink).ok());
  EXPECT_EQ(sink.text(),
            "heap profile: 2: 1049576 [3: 1050576] @ heap_v2/524288\n1: 1000 [2: 2000] @ 0x403021 0x401019\n1: 1048576 [1: "
            "1048576] @ 0x404031\n\nMAPPED_LIBRARIES:\nmaps\n");
}

TEST_F(HeapSourceTest, StopsWhenTheReaderHasLeft) {
  for (const size_t limit : {0, 60, 150, 300}) {
    LeavingSink sink(limit);
    EXPECT_EQ(Make().WriteText(1, sink).code(), absl::StatusCode::kCancelled) << limit;
    EXPECT_EQ(sink.refusals(), 1) << limit;
  }
  for (const size_t limit : {0, 60, 110, 140}) {
    LeavingSink sink(limit);
    EXPECT_EQ(Make().WriteLegacy("maps", sink).code(), absl::StatusCode::kCancelled) << limit;
    EXPECT_EQ(sink.refusals(), 1) << limit;
  }
}

TEST_F(HeapSourceTest, AnErrorIsPassedOn) {
  failure_ = absl::UnimplementedError("no tcmalloc");
  StringSink sink;
  EXPECT_EQ(Make().Collect().status(), failure_);
  EXPECT_EQ(Make().WriteText(1, sink), failure_);
  EXPECT_EQ(Make().WriteLegacy("", sink), failure_);
  EXPECT_EQ(sink.text(), "");
}

TEST_F(HeapSourceTest, OnlyHeapReleasesMemory) {
  Make(HeapSource::Kind::kAllocs).CollectGarbage();
  EXPECT_EQ(released_, 0);
  Make().CollectGarbage();
  EXPECT_EQ(released_, 1);
}

TEST_F(HeapSourceTest, IsListedLikeGos) {
  EXPECT_EQ(Make().name(), "heap");
  EXPECT_EQ(Make().description(), "A sampling of memory allocations of live objects. You can specify the gc GET parameter to run "
                                  "GC before taking the heap sample.");
  EXPECT_EQ(Make(HeapSource::Kind::kAllocs).name(), "allocs");
  EXPECT_EQ(Make(HeapSource::Kind::kAllocs).description(), "A sampling of all past memory allocations");
  EXPECT_EQ(Make().Count(), 2);
  EXPECT_TRUE(Make().has_delta());
}

}  // namespace
}  // namespace fiberscope::pprof
