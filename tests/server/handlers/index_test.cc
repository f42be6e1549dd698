#include "server/handlers/index.h"

#include <memory>

#include "gtest/gtest.h"
#include "tests/server/handlers/fake_source.h"
#include "tests/testing/recording_writer.h"

namespace fiberscope::server {
namespace {

using testing::FakeSource;

TEST(IndexHandlerTest, ListsProfilesAndOtherEndpointsByName) {
  pprof::ProfileCatalog catalog;
  ASSERT_TRUE(catalog.Add(std::make_unique<FakeSource>(FakeSource::Options{"heap", "Memory.", 3})).ok());
  ASSERT_TRUE(catalog.Add(std::make_unique<FakeSource>(FakeSource::Options{"<b>evil</b>", "<script>", -1})).ok());
  const Handler handler = MakeIndexHandler(catalog, {{"symbol", "Maps."}, {"cmdline", "Arguments."}});
  for (const char* const query : {"", "debug=abc"}) {
    const testing::RecordingWriter answer = testing::Answer(handler, {.path = "/debug/pprof/", .raw_query = query});
    EXPECT_EQ(answer.head().status, 200);
    EXPECT_EQ(answer.head().content_type, "text/html; charset=utf-8");
    EXPECT_NE(answer.body().find("<tr><td>-1</td><td><a href='%3Cb%3Eevil%3C/b%3E?debug=1'>&lt;b&gt;evil&lt;/b&gt;</a></td></tr>\n"
                                 "<tr><td>0</td><td><a href='cmdline?debug=1'>cmdline</a></td></tr>\n"
                                 "<tr><td>3</td><td><a href='heap?debug=1'>heap</a></td></tr>\n"
                                 "<tr><td>0</td><td><a href='symbol?debug=1'>symbol</a></td></tr>\n"),
              std::string::npos)
        << answer.body();
    EXPECT_EQ(answer.body().find("<script>"), std::string::npos);
  }
}

TEST(IndexHandlerTest, ShowsWhatTheCatalogHoldsAtTheTime) {
  pprof::ProfileCatalog catalog;
  const Handler handler = MakeIndexHandler(catalog, {});
  EXPECT_EQ(testing::Answer(handler, {}).body().find("<tr>"), std::string::npos);
  ASSERT_TRUE(catalog.Add(std::make_unique<FakeSource>(FakeSource::Options{"late"})).ok());
  EXPECT_NE(testing::Answer(handler, {}).body().find(">late</a>"), std::string::npos);
}

}  // namespace
}  // namespace fiberscope::server
