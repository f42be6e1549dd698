// A program that allocates otherwise.
#include <string>

#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/gperftools/heap_samples.h"
#include "pprof/sources/heap.h"

namespace fiberscope::pprof {
namespace {

void ExpectMissing(const absl::Status& status) {
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(std::string(status.message()).find("link it with -ltcmalloc"), std::string::npos) << status;
}

TEST(NoTcmallocTest, EverythingSaysSo) {
  const std::unique_ptr<Symbolizer> symbolizer = MakeProcessSymbolizer();
  ExpectMissing(SetHeapSampleRate(1024));
  EXPECT_EQ(HeapSampleRate(), 0);
  EXPECT_EQ(HeapRecordCount(), 0);
  ExpectMissing(ReadHeapSamples().status());
  ExpectMissing(ReadHeapStats().status());
  ExpectMissing(ReadHeapGrowth().status());
  ReleaseFreeMemory();
  for (const std::unique_ptr<ProfileSource>& source : {MakeHeapSource(*symbolizer), MakeAllocsSource(*symbolizer)}) {
    StringSink sink;
    source->CollectGarbage();
    EXPECT_EQ(source->Count(), 0);
    ExpectMissing(source->Collect().status());
    ExpectMissing(source->WriteText(1, sink));
    ExpectMissing(WriteHeapProfile(*symbolizer, sink));
    ExpectMissing(WriteLegacyHeapProfile(*symbolizer, sink));
    ExpectMissing(WriteLegacyGrowthProfile(sink));
    EXPECT_EQ(sink.text(), "");
  }
}

}  // namespace
}  // namespace fiberscope::pprof
