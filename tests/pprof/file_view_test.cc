#include "pprof/file_view.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <string>
#include <utility>

namespace fiberscope::pprof {
namespace {

std::string WriteFile(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(FileViewTest, ShowsTheBytesAlsoAfterAMove) {
  auto view = FileView::Open(WriteFile("some", "bytes"));
  ASSERT_TRUE(view);
  EXPECT_EQ(view->bytes(), "bytes");
  FileView moved = *std::move(view);
  EXPECT_EQ(moved.bytes(), "bytes");
  auto other = FileView::Open(WriteFile("other", "others"));
  ASSERT_TRUE(other);
  moved = *std::move(other);
  EXPECT_EQ(moved.bytes(), "others");
}

TEST(FileViewTest, OnlyRegularFilesWithBytesOpen) {
  EXPECT_FALSE(FileView::Open("/nonexistent"));
  EXPECT_FALSE(FileView::Open("/"));
  EXPECT_FALSE(FileView::Open("/dev/zero"));
  EXPECT_FALSE(FileView::Open(WriteFile("empty", "")));
  const std::string fifo = testing::TempDir() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_FALSE(FileView::Open(fifo)) << "and does not wait for a writer";
}

}  // namespace
}  // namespace fiberscope::pprof
