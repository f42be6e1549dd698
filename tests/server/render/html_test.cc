#include "server/render/html.h"

#include <string>

#include "gtest/gtest.h"

namespace fiberscope::server {
namespace {

TEST(EscapeHtmlTest, LeavesNothingThatCouldEndATextOrAnAttribute) {
  EXPECT_EQ(EscapeHtml("a<b>&\"c\"'d'"), "a&lt;b&gt;&amp;&#34;c&#34;&#39;d&#39;");
  EXPECT_EQ(EscapeHtml("&amp;"), "&amp;amp;");
  EXPECT_EQ(EscapeHtml(""), "");
}

TEST(EscapePathTest, IsARelativeReference) {
  EXPECT_EQ(EscapePath("heap-1.2_3~"), "heap-1.2_3~");
  EXPECT_EQ(EscapePath("example.com/x.files"), "example.com/x.files");
  EXPECT_EQ(EscapePath("/root"), "%2Froot");
  EXPECT_EQ(EscapePath("javascript:alert(1)"), "javascript%3Aalert%281%29");
  EXPECT_EQ(EscapePath("a?b#c%d'e\"f g"), "a%3Fb%23c%25d%27e%22f%20g");
  EXPECT_EQ(EscapePath("\xc3\xa9\n"), "%C3%A9%0A");
}

// Format: Go 1.27 net/http/pprof, indexTmplExecute.
TEST(RenderIndexPageTest, IsGosPage) {
  const std::string page = RenderIndexPage({{"cmdline", "It's <b>", 0}, {"x/y", "", 12}});
  EXPECT_EQ(page,
            "<html>\n"
            "<head>\n"
            "<title>/debug/pprof/</title>\n"
            "<style>\n"
            ".profile-name{\n"
            "\tdisplay:inline-block;\n"
            "\twidth:6rem;\n"
            "}\n"
            "</style>\n"
            "</head>\n"
            "<body>\n"
            "/debug/pprof/\n"
            "<br>\n"
            "<p>Set debug=1 as a query parameter to export in legacy text format</p>\n"
            "<br>\n"
            "Types of profiles available:\n"
            "<table>\n"
            "<thead><td>Count</td><td>Profile</td></thead>\n"
            "<tr><td>0</td><td><a href='cmdline?debug=1'>cmdline</a></td></tr>\n"
            "<tr><td>12</td><td><a href='x/y?debug=1'>x/y</a></td></tr>\n"
            "</table>\n"
            "<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n"
            "<br>\n"
            "<p>\n"
            "Profile Descriptions:\n"
            "<ul>\n"
            "<li><div class=profile-name>cmdline: </div> It&#39;s &lt;b&gt;</li>\n"
            "<li><div class=profile-name>x/y: </div> </li>\n"
            "</ul>\n"
            "</p>\n"
            "</body>\n"
            "</html>");
}

}  // namespace
}  // namespace fiberscope::server
