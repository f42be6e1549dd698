#include "server/handlers/cmdline.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

// Arguments as a test writes them, with '|' for the NUL that ends each.
std::string Redacted(std::string text) {
  for (char& c : text) c = c == '|' ? '\0' : c;
  std::string result = RedactCmdline(text);
  for (char& c : result) c = c == '\0' ? '|' : c;
  return result;
}

TEST(RedactCmdlineTest, HidesTheValuesOfFlagsThatLookSecret) {
  struct Row {
    const char* raw;
    const char* redacted;
  };
  static constexpr Row kRows[] = {
      {"", ""},
      {"a.out|", "a.out"},
      {"a.out||x|", "a.out||x"},
      {"a.out|-v|--port=80|", "a.out|-v|--port=80"},
      {"a.out|--password=hunter2|x|", "a.out|--password=REDACTED|x"},
      {"a.out|-db_pass=a=b|", "a.out|-db_pass=REDACTED"},
      {"a.out|--API-TOKEN=x|", "a.out|--API-TOKEN=REDACTED"},
      {"a.out|--client_secret=|", "a.out|--client_secret=REDACTED"},
      {"a.out|--tls-key=/etc/key|", "a.out|--tls-key=REDACTED"},
      {"a.out|--aws_credentials=x|--auth=y|", "a.out|--aws_credentials=REDACTED|--auth=REDACTED"},
      {"a.out|--token|abc|next|", "a.out|--token|REDACTED|next"},
      {"a.out|--token|--verbose|x|", "a.out|--token|--verbose|x"},
      {"a.out|--token|", "a.out|--token"},
      {"token=positional|", "token=positional"},
      {"a.out|--name=token|", "a.out|--name=token"},
  };
  for (const Row& row : kRows) EXPECT_EQ(Redacted(row.raw), row.redacted) << row.raw;
}

TEST(CmdlineHandlerTest, AnswersWithTheArgumentsOfThisProcess) {
  const testing::RecordingWriter answer = testing::Answer(MakeCmdlineHandler(), {});
  EXPECT_EQ(answer.head().status, 200);
  EXPECT_EQ(answer.head().content_type, "text/plain; charset=utf-8");
  EXPECT_NE(answer.body().find("cmdline_test"), std::string::npos) << answer.body();
  EXPECT_NE(answer.body().back(), '\0');
  EXPECT_NE(answer.body().back(), '\n');
}

}  // namespace
}  // namespace fiberscope::server
