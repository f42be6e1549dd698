#include "server/render/html.h"

#include "absl/strings/str_format.h"

namespace fiberscope::server {

std::string EscapeHtml(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&': escaped += "&amp;"; break;
      case '<': escaped += "&lt;"; break;
      case '>': escaped += "&gt;"; break;
      case '"': escaped += "&#34;"; break;
      case '\'': escaped += "&#39;"; break;
      default: escaped += c;
    }
  }
  return escaped;
}

std::string EscapePath(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                       c == '_' || c == '~' || (c == '/' && !escaped.empty());
    escaped += plain ? std::string(1, c) : absl::StrFormat("%%%02X", static_cast<unsigned char>(c));
  }
  return escaped;
}

std::string RenderIndexPage(const std::vector<IndexEntry>& entries) {
  std::string page =
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
      "<thead><td>Count</td><td>Profile</td></thead>\n";
  for (const IndexEntry& entry : entries) {
    page += absl::StrFormat("<tr><td>%d</td><td><a href='%s?debug=1'>%s</a></td></tr>\n", entry.count,
                            EscapePath(entry.name), EscapeHtml(entry.name));
  }
  page +=
      "</table>\n"
      "<a href=\"goroutine?debug=2\">full goroutine stack dump</a>\n"
      "<br>\n"
      "<p>\n"
      "Profile Descriptions:\n"
      "<ul>\n";
  for (const IndexEntry& entry : entries) {
    page += absl::StrFormat("<li><div class=profile-name>%s: </div> %s</li>\n", EscapeHtml(entry.name),
                            EscapeHtml(entry.description));
  }
  page +=
      "</ul>\n"
      "</p>\n"
      "</body>\n"
      "</html>";
  return page;
}

}  // namespace fiberscope::server
