#include "pprof/trace/trace_directory.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/every_trace_event.h"

namespace fiberscope::pprof {
namespace {

namespace fs = std::filesystem;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class TraceDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = std::string(std::getenv("TEST_TMPDIR")) + "/XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
  }

  FlightSnapshot Snapshot(std::string reason) const {
    return {.reason = std::move(reason), .generations = testing::EveryTraceEvent()};
  }
  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& each : fs::directory_iterator(path_)) names.push_back(each.path().filename());
    std::ranges::sort(names);
    return names;
  }
  static std::string ErrorOf(TraceDirectory& directory) {
    const auto saved = directory.Save({.reason = "x", .generations = testing::EveryTraceEvent()});
    EXPECT_FALSE(saved.ok());
    return std::string(saved.status().message());
  }

  const std::unique_ptr<Symbolizer> symbolizer_ = MakeProcessSymbolizer();
  std::string path_;
};

TEST_F(TraceDirectoryTest, AFileIsNamedAfterTimeAndReason) {
  TraceDirectory directory({.path = path_ + "/made"}, *symbolizer_);
  const auto saved = directory.Save(Snapshot("slow task Order/7: 312 ms"));
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_THAT(*saved, StartsWith(path_ + "/made/fiberscope-20"));
  EXPECT_THAT(*saved, ContainsRegex("fiberscope-[0-9]*T[0-9]*[.][0-9]*Z-slow-task-order-7-312-ms[.]trace$"));
  std::string head(13, '\0');
  std::ifstream(*saved).read(head.data(), 13);
  EXPECT_EQ(head, "go 1.22 trace");
  struct stat status = {};
  ASSERT_EQ(stat(saved->c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u) << "it has names and labels in it";
  EXPECT_EQ(directory.saved(), 1u);
  EXPECT_EQ(directory.failed(), 0u);
}

TEST_F(TraceDirectoryTest, AReasonOfNoLettersIsASnapshot) {
  TraceDirectory directory({.path = path_}, *symbolizer_);
  const auto saved = directory.Save(Snapshot("../\xff\n"));
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_THAT(*saved, EndsWith("Z-snapshot.trace"));
}

TEST_F(TraceDirectoryTest, TheOldestGoOthersFilesStay) {
  std::ofstream(path_ + "/fiberscope-notes.txt") << std::string(5000, 'x');
  std::ofstream(path_ + "/other.trace") << std::string(5000, 'x');
  TraceDirectory unbounded({.path = path_}, *symbolizer_);
  const auto first = unbounded.Save(Snapshot("first"));
  ASSERT_TRUE(first.ok());
  const auto bytes = fs::file_size(*first);

  TraceDirectory two({.path = path_, .max_bytes = 2 * bytes}, *symbolizer_);
  for (const char* reason : {"second", "third", "fourth"}) ASSERT_TRUE(two.Save(Snapshot(reason)).ok());

  const std::vector<std::string> names = Names();
  ASSERT_EQ(names.size(), 4u);
  EXPECT_THAT(names[0], EndsWith("-third.trace"));
  EXPECT_THAT(names[1], EndsWith("-fourth.trace"));
}

TEST_F(TraceDirectoryTest, TheNewestStaysThoughItIsTooLarge) {
  TraceDirectory directory({.path = path_, .max_bytes = 1}, *symbolizer_);
  ASSERT_TRUE(directory.Save(Snapshot("first")).ok());
  ASSERT_TRUE(directory.Save(Snapshot("second")).ok());
  const std::vector<std::string> names = Names();
  ASSERT_EQ(names.size(), 1u);
  EXPECT_THAT(names[0], EndsWith("-second.trace"));
}

TEST_F(TraceDirectoryTest, LeavesOfADeadProcessAreRemoved) {
  const std::string old = path_ + "/fiberscope-20200101T000000.000000Z-x.trace.unfinished";
  const std::string young = path_ + "/fiberscope-20200101T000001.000000Z-x.trace.unfinished";
  std::ofstream(old) << "x";
  std::ofstream(young) << "x";
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  TraceDirectory directory({.path = path_}, *symbolizer_);
  ASSERT_TRUE(directory.Save(Snapshot("x")).ok());
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(young)) << "somebody may be writing it";
}

TEST_F(TraceDirectoryTest, SaysOnceWhatItCouldNotDoAndCounts) {
  TraceDirectory directory({.path = path_ + "/no/such"}, *symbolizer_);
  ::testing::internal::CaptureStderr();
  EXPECT_THAT(ErrorOf(directory), HasSubstr("flight recorder: cannot make directory " + path_ + "/no/such: No such file"));
  EXPECT_FALSE(directory.Save(Snapshot("again")).ok());
  const std::string said = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, StartsWith("fiberscope: flight recorder: cannot make directory"));
  EXPECT_EQ(std::ranges::count(said, '\n'), 1);
  EXPECT_EQ(directory.failed(), 2u);
  EXPECT_EQ(directory.saved(), 0u);
}

TEST_F(TraceDirectoryTest, AFileInPlaceOfTheDirectory) {
  std::ofstream(path_ + "/file") << "x";
  TraceDirectory directory({.path = path_ + "/file"}, *symbolizer_);
  EXPECT_THAT(ErrorOf(directory), HasSubstr("cannot create " + path_ + "/file/fiberscope-"));
}

TEST_F(TraceDirectoryTest, AFullDiskLeavesNothingBehind) {
  // A limit on the size of files stands in for it: write(2) fails in the middle.
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto on_limit = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {.rlim_cur = 100, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  TraceDirectory directory({.path = path_}, *symbolizer_);
  ::testing::internal::CaptureStderr();
  const auto saved = directory.Save(Snapshot("x"));
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, on_limit);
  (void)::testing::internal::GetCapturedStderr();
  ASSERT_FALSE(saved.ok());
  EXPECT_THAT(std::string(saved.status().message()), ContainsRegex("cannot write .*unfinished: File too large"));
  EXPECT_TRUE(Names().empty());
}

}  // namespace
}  // namespace fiberscope::pprof
