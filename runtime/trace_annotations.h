// What a program says of itself in an execution trace: tasks, regions and logs, as in Go's runtime/trace.
//
//   void Serve(const Request& request) {
//     TraceTask task("order");                     // one piece of work, with all fibers that have a part in it
//     {
//       TraceRegion region("reserve");             // a stretch of this fiber's time
//       Reserve(request);
//     }
//     TraceLog("item", request.item);              // a moment
//   }
//
// `go tool trace` lists tasks by name and duration, with what each fiber did for them, and regions by place.
//
// A task is part of the fiber's context from there to the end of the scope: fibers that are spawned in it belong to it, and so do
// their regions and logs; a task within a task is its child.
//
// All of it is only for fibers that are being traced: on a plain thread, while nobody traces, and within Blocking() nothing
// happens, and a task or region that began before the trace is not in it. Texts are cut to 1024 bytes.
//
// Never parks. Cost: one load and one branch while nobody traces; else 0.1 to 0.2 us each, a task 0.5 us.
#ifndef FIBERSCOPE_RUNTIME_TRACE_ANNOTATIONS_H_
#define FIBERSCOPE_RUNTIME_TRACE_ANNOTATIONS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/context.h"
#include "runtime/trace/trace_writer.h"

namespace fiberscope {

namespace internal {
struct TraceRegionNode;
}

// Whether a trace is being taken, for texts that are expensive to make.
inline bool IsTracing() { return internal::TraceOn(); }

// Belongs on the stack. Ends where it began, after what began later, as a ContextScope does, which it contains.
class [[nodiscard]] TraceTask {
 public:
  explicit TraceTask(std::string_view name) {
    if (internal::TraceOn()) Begin(name);
  }
  ~TraceTask() {
    if (id_ != 0) End();
  }
  TraceTask(const TraceTask&) = delete;
  TraceTask& operator=(const TraceTask&) = delete;

  // 0: there is no trace to be in.
  uint64_t id() const { return id_; }

 private:
  void Begin(std::string_view name);
  void End();
  void EndInTrace();
  void TellIfSlow() const;

  uint64_t id_ = 0;
  uint32_t trace_ = 0;
  int64_t begin_ns_ = 0;  // and the name: for a flight recorder that wants to hear of slow tasks
  std::string name_;
  std::optional<ContextScope> scope_;
};

// Belongs on the stack. Regions end on the fiber where they began, in the reverse order. Where they do not, the trace stays in
// order: those within a region end with it, and an end on another fiber is left out; either is counted (MisusedTraceRegions).
class [[nodiscard]] TraceRegion {
 public:
  explicit TraceRegion(std::string_view name) {
    if (internal::TraceOn()) Begin(name);
  }
  ~TraceRegion() {
    if (node_ != nullptr) End();
  }
  TraceRegion(const TraceRegion&) = delete;
  TraceRegion& operator=(const TraceRegion&) = delete;

 private:
  void Begin(std::string_view name);
  void End();

  // The fiber's. Not to be followed before it was found in the fiber's list.
  internal::TraceRegionNode* node_ = nullptr;
};

void TraceLog(std::string_view key, std::string_view value);

// Ends of regions out of order, or on another fiber, since the process began.
uint64_t MisusedTraceRegions();

namespace internal {
struct ControlBlock;
// Those that the ending fiber has left open.
void DropTraceRegions(ControlBlock& fiber);
}  // namespace internal

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_TRACE_ANNOTATIONS_H_
