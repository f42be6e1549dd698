// How often something ended how: as a variable of one's own and as a metric, demo_NAME_total{outcome}.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_OUTCOMES_H_
#define FIBERSCOPE_SERVER_EXAMPLE_OUTCOMES_H_

#include <prometheus/counter.h>
#include <prometheus/family.h>

#include <string>

#include "server/example/instruments.h"
#include "server/vars/var.h"

namespace demo {

// Thread-safe. There is one of each name.
class Outcomes {
 public:
  Outcomes(const Instruments& instruments, const std::string& name, const std::string& help)
      : vars_(**instruments.vars.NewMap(name)),
        family_(prometheus::BuildCounter().Name("demo_" + name + "_total").Help(help).Register(instruments.metrics)) {}

  // Outcomes are few: they are never given back.
  void Count(const std::string& outcome) {
    vars_.Add(outcome, 1);
    family_.Add({{"outcome", outcome}}).Increment();
  }

 private:
  fiberscope::server::MapVar& vars_;
  prometheus::Family<prometheus::Counter>& family_;
};

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_OUTCOMES_H_
