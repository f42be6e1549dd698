// The text forms of a whole service, byte by byte.
#include "gtest/gtest.h"
#include "pprof/byte_sink.h"
#include "pprof/sources/goroutine_source.h"
#include "tests/testing/golden.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

std::string Text(int debug) {
  Shop shop;
  GoroutineSource source(shop.symbolizer(), shop.Inputs());
  StringSink sink;
  EXPECT_TRUE(source.WriteText(debug, sink).ok());
  return sink.text();
}

TEST(GoroutineGolden, Debug1) { ExpectGolden("goroutine_debug1.txt", Text(1)); }

TEST(GoroutineGolden, Debug2) { ExpectGolden("goroutine_debug2.txt", Text(2)); }

}  // namespace
}  // namespace fiberscope::pprof
