#include "runtime/fatal_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "absl/debugging/symbolize.h"
#include "gmock/gmock.h"

namespace fiberscope::internal {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string Written(void (*write)(FatalText&)) {
  ::testing::internal::CaptureStderr();
  const auto text = std::make_unique<FatalText>();
  write(*text);
  text->Flush();
  return ::testing::internal::GetCapturedStderr();
}

TEST(FatalTextTest, WritesAllOfALongText) {
  const std::string written = Written([](FatalText& text) {
    for (int i = 0; i < 10'000; ++i) text.Add("%04d\n", i);
  });
  EXPECT_EQ(written.size(), 50'000u);
  EXPECT_THAT(written, StartsWith("0000\n0001\n"));
  EXPECT_THAT(written, HasSubstr("\n5000\n5001\n"));
}

TEST(FatalTextTest, EscapesWhatCouldForgeALineAndCutsIt) {
  EXPECT_EQ(Written([](FatalText& text) { text.AddEscaped("a\n\"\\\x1b\xff z"); }), "a\\x0a\\x22\\x5c\\x1b\\xff z");
  EXPECT_EQ(Written([](FatalText& text) { text.AddEscaped(std::string(1000, 'x')); }), std::string(256, 'x'));
}

TEST(FatalTextTest, NamesTheFunctionOfAnAddress) {
  absl::InitializeSymbolizer("");
  EXPECT_THAT(Written([](FatalText& text) { text.AddPc(reinterpret_cast<uintptr_t>(&Written), true); }),
              HasSubstr("Written"));
  EXPECT_EQ(Written([](FatalText& text) { text.AddPc(0x10); }), "    0x10\n");
}

TEST(FatalTextTest, AReaderThatStoppedReadingDoesNotHoldTheProcess) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const int saved = dup(STDERR_FILENO);
  ASSERT_EQ(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
  const auto text = std::make_unique<FatalText>();
  for (int i = 0; i < 70'000 / 8; ++i) text->Add("8 bytes\n");  // more than a pipe holds
  text->Flush();
  dup2(saved, STDERR_FILENO);
  close(saved);
  close(ends[1]);
  size_t total = 0;
  char buffer[4096];
  for (ssize_t size; (size = read(ends[0], buffer, sizeof(buffer))) > 0;) total += static_cast<size_t>(size);
  close(ends[0]);
  EXPECT_GT(total, 32'000u);
  EXPECT_LT(total, 70'000u);
}

}  // namespace
}  // namespace fiberscope::internal
