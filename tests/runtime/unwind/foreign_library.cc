// A library that the tests load at run time: built without frame pointers, bound lazily.
#include <cstdlib>

extern "C" int ForeignRecursion(int depth, int (*callee)()) {
  volatile char buffer[33];
  buffer[depth] = static_cast<char>(depth);
  if (depth == 0) return callee() + buffer[0];
  return (ForeignRecursion(depth - 1, callee) & 0xffff) * 3 + buffer[depth];  // not a tail call
}

// The first call of each library function goes through the dynamic linker's resolver.
extern "C" int ForeignLazyCall(const char* number) {
  return static_cast<int>(std::strtod(number, nullptr)) + std::abs(std::atoi(number));
}

// Without a frame pointer, arguments on the stack and a realigned frame together make gcc keep the frame address in r10
// for the first instructions, and in memory at rbp - 8 afterwards.
extern "C" int ForeignRealigned(int a, int b, int c, int d, int e, int f, int g, int (*callee)()) {
  alignas(64) volatile char buffer[128];
  auto* room = static_cast<volatile char*>(__builtin_alloca(16 * a));
  buffer[a] = static_cast<char>(b + c + d + e + f);
  room[0] = buffer[a];
  return callee() + buffer[a] + room[0] + g;
}
