#include "server/handlers/requests.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::RecordingWriter;

class RequestsHandlerTest : public ::testing::Test {
 protected:
  RequestsHandlerTest() {
    for (const char* route : {"/basket", "/order"}) {
      requests_.End(requests_.Begin(route, "GET", identity_, FiberId{7}), 200);
    }
  }
  RecordingWriter Get(std::string query) { return testing::Answer(handler_, {.raw_query = std::move(query)}); }

  const RequestIdentity identity_ = AcceptRequest({.request_id = "r-1"});
  RequestRegistry requests_;
  const Handler handler_ = MakeRequestsHandler(requests_);
};

TEST_F(RequestsHandlerTest, AnswersInTheFormAskedFor) {
  struct Row {
    const char* query;
    const char* content_type;
    const char* begins;
    bool has_basket;
    bool has_request;
  };
  static constexpr char kText[] = "text/plain; charset=utf-8";
  static constexpr char kJson[] = "application/json; charset=utf-8";
  static constexpr Row kRows[] = {
      {"", kText, "requests: 0 in flight, 2 finished\n\n/basket: ", true, true},
      {"format=&route=&minage=&limit=", kText, "requests: 0 in flight, 2 finished\n\n/basket: ", true, true},
      {"format=text&route=/order", kText, "requests: 0 in flight, 1 finished\n\n/order: ", false, true},
      {"format=json", kJson, "{\"routes\":[{\"route\":\"/basket\",", true, true},
      {"format=json&route=%2Forder&limit=1000", kJson, "{\"routes\":[{\"route\":\"/order\",", false, true},
      {"minage=1h", kText, "requests: 0 in flight, 2 finished\n\n/basket: ", true, false},
      {"route=/nobody's", kText, "requests: 0 in flight, 0 finished\n", false, false},
  };
  for (const Row& row : kRows) {
    const RecordingWriter answer = Get(row.query);
    EXPECT_EQ(answer.head().status, 200) << row.query;
    EXPECT_EQ(answer.head().content_type, row.content_type) << row.query;
    EXPECT_TRUE(answer.body().starts_with(row.begins)) << row.query << ": " << answer.body();
    EXPECT_EQ(answer.body().find("/basket") != std::string::npos, row.has_basket) << row.query;
    EXPECT_EQ(answer.body().find("r-1") != std::string::npos, row.has_request) << row.query;
  }
}

TEST_F(RequestsHandlerTest, RefusesWhatItCannotReadByName) {
  struct Row {
    const char* query;
    const char* error;
  };
  static constexpr Row kRows[] = {
      {"format=xml", "invalid value for \"format\" - must be text or json\n"},
      {"format=json&format=text", "invalid value for \"format\" - given more than once\n"},
      {"route=%zz", "invalid value for \"route\" - bad percent-encoding\n"},
      {"minage=old", "invalid value for \"minage\" - must be a duration such as 90s, 5m or 1h30m, or a number of seconds\n"},
      {"minage=-1s", "invalid value for \"minage\" - must be a duration such as 90s, 5m or 1h30m, or a number of seconds\n"},
      {"limit=0", "invalid value for \"limit\" - must be an integer from 1 to 1000\n"},
      {"limit=1001", "invalid value for \"limit\" - must be an integer from 1 to 1000\n"},
  };
  for (const Row& row : kRows) {
    const RecordingWriter answer = Get(row.query);
    EXPECT_EQ(answer.head().status, 400) << row.query;
    EXPECT_EQ(answer.body(), row.error);
  }
}

}  // namespace
}  // namespace fiberscope::server
