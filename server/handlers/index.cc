#include "server/handlers/index.h"

#include <algorithm>
#include <utility>

#include "server/render/html.h"

namespace fiberscope::server {

Handler MakeIndexHandler(const pprof::ProfileCatalog& catalog, std::vector<PseudoProfile> pseudo_profiles) {
  return [&catalog, pseudo_profiles = std::move(pseudo_profiles)](const Request&, ResponseWriter& writer) {
    std::vector<IndexEntry> entries;
    for (const pprof::ProfileSource* const source : catalog.All()) {
      entries.push_back({std::string(source->name()), std::string(source->description()), source->Count()});
    }
    for (const PseudoProfile& pseudo : pseudo_profiles) entries.push_back({pseudo.name, pseudo.description, 0});
    std::ranges::sort(entries, {}, &IndexEntry::name);
    Response response;
    response.head.content_type = "text/html; charset=utf-8";
    response.body = RenderIndexPage(entries);
    writer.Send(std::move(response));
  };
}

}  // namespace fiberscope::server
