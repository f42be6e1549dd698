// GET /debug/pprof/: the page that lists what there is.
#ifndef FIBERSCOPE_SERVER_HANDLERS_INDEX_H_
#define FIBERSCOPE_SERVER_HANDLERS_INDEX_H_

#include <string>
#include <vector>

#include "pprof/profile_catalog.h"
#include "server/http/router.h"

namespace fiberscope::server {

// An endpoint that is no profile but has its line on the index page.
struct PseudoProfile {
  std::string name;
  std::string description;
};

// `catalog` must outlive the handler.
Handler MakeIndexHandler(const pprof::ProfileCatalog& catalog, std::vector<PseudoProfile> pseudo_profiles);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_INDEX_H_
