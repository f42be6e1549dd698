// How a cancelled fiber leaves a wait that has no other way to say so: an exception, so that what the fiber holds is given back on
// the way out. context.h says who cancels; this_fiber::context().cause() says why.
#ifndef FIBERSCOPE_RUNTIME_WAIT_CANCELLED_H_
#define FIBERSCOPE_RUNTIME_WAIT_CANCELLED_H_

#include <exception>

namespace fiberscope {

class WaitCancelled : public std::exception {
 public:
  const char* what() const noexcept override { return "the wait was cancelled"; }
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_WAIT_CANCELLED_H_
