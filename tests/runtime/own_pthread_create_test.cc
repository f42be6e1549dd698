// An application that has a pthread_create() of its own keeps it.
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <thread>

#include "gtest/gtest.h"
#include "runtime/thread_creation.h"

namespace {

std::atomic<int> g_calls{0};

}  // namespace

extern "C" int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*), void* argument) noexcept {
  ++g_calls;
  using Create = int (*)(pthread_t*, const pthread_attr_t*, void* (*)(void*), void*);
  return reinterpret_cast<Create>(dlsym(RTLD_NEXT, "pthread_create"))(thread, attributes, start, argument);
}

namespace fiberscope {
namespace {

TEST(OwnPthreadCreateTest, IsCalledInsteadOfOursAndThreadsAreUnknown) {
  const int before = g_calls;
  std::atomic<bool> stop{false};
  std::thread one([&] { stop.wait(false); });
  std::thread two([&] { stop.wait(false); });
  EXPECT_EQ(g_calls, before + 2);
  EXPECT_TRUE(ReadThreadCreation().records.empty());
  EXPECT_EQ(ReadThreadCreation().unknown, 3);
  stop = true;
  stop.notify_all();
  one.join();
  two.join();
  EXPECT_EQ(ThreadsCreated(), 3) << "it never goes down";
}

}  // namespace
}  // namespace fiberscope
