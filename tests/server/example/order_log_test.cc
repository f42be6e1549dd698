#include "server/example/order_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "gtest/gtest.h"
#include "runtime/fiber.h"
#include "runtime/fiber_state.h"
#include "runtime/scheduler.h"

namespace demo {
namespace {

std::string ContentOf(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

absl::Status AppendOnFiber(OrderLog& log, const std::string& lines) {
  fiberscope::Scheduler scheduler({.processors = 1});
  absl::Status status;
  scheduler.Spawn([&] { status = log.Append(lines); }).Join();
  return status;
}

TEST(OrderLogTest, HoldsTheLinesInAFileThatGoesWithIt) {
  std::string path;
  {
    absl::StatusOr<OrderLog> made = OrderLog::Create(::testing::TempDir());
    ASSERT_TRUE(made.ok()) << made.status();
    OrderLog log = *std::move(made);
    path = log.path();
    EXPECT_TRUE(AppendOnFiber(log, "1 apple 2\n").ok());
    EXPECT_TRUE(AppendOnFiber(log, "2 pear 1\n3 plum 4\n").ok());
    EXPECT_EQ(ContentOf(path), "1 apple 2\n2 pear 1\n3 plum 4\n");
  }
  EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(path).parent_path()));
}

TEST(OrderLogTest, SaysWhereItCouldNotBeMade) {
  EXPECT_EQ(OrderLog::Create("/nowhere").status().message(),
            "order log: make a directory in /nowhere: No such file or directory");
  EXPECT_EQ(OrderLog::Create("/dev/null").status().message(),
            "order log: make a directory in /dev/null: Not a directory");
}

TEST(OrderLogTest, SaysWhyALineWasNotStored) {
  OrderLog full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(AppendOnFiber(full, "1 apple 2\n").message(), "the order could not be stored: No space left on device");
}

TEST(OrderLogTest, OtherFibersRunWhileTheDiskTakesItsTime) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const size_t more_than_it_holds = static_cast<size_t>(fcntl(ends[1], F_GETPIPE_SZ)) + 1;
  OrderLog log(ends[1]);
  // No processor is lent in place of one that is stuck.
  fiberscope::Scheduler scheduler({.processors = 1, .stall_after = std::chrono::nanoseconds::max()});
  absl::Status status;
  const fiberscope::Fiber writer = scheduler.Spawn([&] { status = log.Append(std::string(more_than_it_holds, 'x')); });
  const fiberscope::Fiber reader = scheduler.Spawn([&] {
    EXPECT_EQ(writer.state(), fiberscope::FiberState::kBlocking);
    char page[4096];  // by pages a pipe has room again
    EXPECT_EQ(read(ends[0], page, sizeof(page)), static_cast<ssize_t>(sizeof(page)));
  });
  reader.Join();
  writer.Join();
  EXPECT_EQ(status.message(), "the order could not be stored: Invalid argument");  // a pipe is not a file: no fsync
  close(ends[0]);
}

}  // namespace
}  // namespace demo
