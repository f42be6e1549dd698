// The end of a context as one of the things a select waits for, as `<-ctx.Done()` in Go.
//
//   ContextDone done(context);
//   std::optional<Order> order;
//   switch (Select(ReceiveCase(&orders, order), done.Case())) {
//     case 1: return context.cause();
//   }
//
// A select of a fiber whose own context is cancelled ends by itself, with WaitCancelled: this is for other contexts,
// and for plain threads. To wait for nothing but the context, Context::WaitDone is simpler.
//
// For one fiber or thread at a time, which makes it once, outside of the loop that selects. Cost: making it registers a
// callback with the context.
#ifndef FIBERSCOPE_RUNTIME_SYNC_CONTEXT_DONE_H_
#define FIBERSCOPE_RUNTIME_SYNC_CONTEXT_DONE_H_

#include <optional>
#include <variant>

#include "runtime/context.h"
#include "runtime/sync/channel.h"
#include "runtime/sync/select.h"

namespace fiberscope {

class ContextDone {
 public:
  explicit ContextDone(const Context& context) : callback_(context, [this] { channel_.Close(); }) {}
  ContextDone(const ContextDone&) = delete;
  ContextDone& operator=(const ContextDone&) = delete;

  // Is chosen when the context has been cancelled.
  SelectCase Case() { return ReceiveCase(&channel_, nothing_); }

 private:
  Channel<std::monostate> channel_{0, "context done"};
  std::optional<std::monostate> nothing_;  // nobody ever sends
  ContextCallback callback_;               // ends first
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_SYNC_CONTEXT_DONE_H_
