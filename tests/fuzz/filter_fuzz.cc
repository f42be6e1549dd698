// Any bytes as the query of a profile of fibers: nothing crashes, what is accepted is in range, and no error repeats what came.
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/handlers/fiber_parameters.h"

namespace {

using fiberscope::server::FiberParameters;
using fiberscope::server::ParseFiberParameters;
using fiberscope::server::Query;

void Check(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<Query> query = Query::Parse({reinterpret_cast<const char*>(data), size});
  if (!query.ok()) return 0;
  for (const int debug : {0, 1, 2}) {
    const absl::StatusOr<FiberParameters> parameters = ParseFiberParameters(*query, debug);
    if (!parameters.ok()) {
      // The texts of errors are ours, and all of one kind.
      const std::string text(parameters.status().message());
      Check(text.find('"') != std::string::npos && text.size() < 400);
      for (const char c : text) Check(c >= ' ' && c <= '~');
      continue;
    }
    if (fiberscope::server::RefuseFiberParameters(*query).ok()) Check(parameters->filter.empty() && !parameters->page);
    if (parameters->filter.min_wait) Check(parameters->filter.min_wait->count() >= 0);
    for (const fiberscope::Label& label : parameters->filter.labels) Check(!label.key.empty());
    if (parameters->page) Check(debug == 2 && parameters->page->limit >= 1 && parameters->page->limit <= 10'000);
    (void)parameters->filter.MatchesRecord(fiberscope::FiberSnapshot());
    if (parameters->filter.function) (void)parameters->filter.function->Matches("void shop::Queue<int>::Take(int) const");
  }
  return 0;
}
