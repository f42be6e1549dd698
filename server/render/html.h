// The one place where text becomes HTML.
#ifndef FIBERSCOPE_SERVER_RENDER_HTML_H_
#define FIBERSCOPE_SERVER_RENDER_HTML_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fiberscope::server {

// Safe in text and in attributes in either quotes. Go's spelling of the entities.
std::string EscapeHtml(std::string_view text);

// A relative reference to the path `text`: everything but letters, digits, -._~ and the slashes in the middle as %XX.
std::string EscapePath(std::string_view text);

struct IndexEntry {
  std::string name;
  std::string description;
  int64_t count = 0;
};

// The page of /debug/pprof/. Format: Go 1.27 net/http/pprof, indexTmplExecute.
std::string RenderIndexPage(const std::vector<IndexEntry>& entries);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_RENDER_HTML_H_
