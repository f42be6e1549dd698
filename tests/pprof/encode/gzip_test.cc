#include "pprof/encode/gzip.h"

#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tests/pprof/encode/gunzip.h"
#include "tests/testing/sinks.h"

namespace fiberscope::pprof {
namespace {

std::string Noise(size_t size) {
  std::mt19937 random(1);
  std::string noise(size, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  return noise;
}

TEST(GzipSink, HeaderIsTheOneGoWrites) {
  StringSink out;
  GzipSink gzip(out);
  ASSERT_TRUE(gzip.Write("x").ok());
  ASSERT_TRUE(gzip.Finish().ok());
  EXPECT_EQ(out.text().substr(0, 10), std::string("\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff", 10));
}

TEST(GzipSink, GivesBackWhatWasWrittenInWhateverPieces) {
  const std::string content = Noise(300'000) + std::string(2'000'000, 'a');
  for (const size_t piece : {size_t{977}, size_t{65'536}, content.size()}) {
    MeasuringSink out;
    GzipSink gzip(out);
    for (size_t at = 0; at < content.size(); at += piece) ASSERT_TRUE(gzip.Write(content.substr(at, piece)).ok());
    ASSERT_TRUE(gzip.Finish().ok());
    EXPECT_EQ(Gunzip(out.text()), content) << piece;
    EXPECT_LE(out.largest(), 32u * 1024);
    EXPECT_LT(out.text().size(), 350'000u);
  }
}

TEST(GzipSink, NothingWrittenIsAnEmptyMember) {
  StringSink out;
  GzipSink gzip(out);
  ASSERT_TRUE(gzip.Write("").ok());
  ASSERT_TRUE(gzip.Finish().ok());
  EXPECT_EQ(Gunzip(out.text()), "");
}

TEST(GzipSink, StreamsBeforeTheEnd) {
  MeasuringSink out;
  GzipSink gzip(out);
  ASSERT_TRUE(gzip.Write(Noise(1'000'000)).ok());
  EXPECT_GT(out.text().size(), 900'000u);
}

TEST(GzipSink, WithoutFinishTheReaderSeesACutMember) {
  StringSink out;
  { GzipSink(out).Write(Noise(100'000)).IgnoreError(); }
  EXPECT_EQ(Gunzip(out.text()), std::nullopt);
}

TEST(GzipSink, ErrorOfTheSinkBehindItStays) {
  LeavingSink out(1000);
  GzipSink gzip(out);
  EXPECT_EQ(gzip.Write(Noise(100'000)).code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(gzip.Write("more").code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(gzip.Finish().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(out.refusals(), 1) << "nothing is written after an error";
}

TEST(GzipSink, ErrorAtTheEndIsReported) {
  LeavingSink out(0);
  GzipSink gzip(out);
  gzip.Write("short").IgnoreError();
  EXPECT_EQ(gzip.Finish().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace fiberscope::pprof
