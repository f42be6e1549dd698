// How sources look at all fibers, so that tests can show them others.
#ifndef FIBERSCOPE_PPROF_FIBER_ENUMERATOR_H_
#define FIBERSCOPE_PPROF_FIBER_ENUMERATOR_H_

#include <functional>

#include "absl/functional/function_ref.h"
#include "runtime/fiber_snapshot.h"
#include "runtime/registry.h"

namespace fiberscope::pprof {

// Calls back for every live fiber until told to stop: ForEachFiber() of runtime/registry.h.
using FiberEnumerator = std::function<FiberListing(const RegistryOptions&, absl::FunctionRef<bool(const FiberSnapshot&)>)>;

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_FIBER_ENUMERATOR_H_
