#include "runtime/stack/stack_bounds.h"

#include <pthread.h>

namespace fiberscope {

StackBounds ThreadStackBounds() {
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return {};
  void* low = nullptr;
  size_t bytes = 0;
  pthread_attr_getstack(&attributes, &low, &bytes);
  pthread_attr_destroy(&attributes);
  const uintptr_t start = reinterpret_cast<uintptr_t>(low);
  return {.low = start, .high = start + bytes};
}

}  // namespace fiberscope
