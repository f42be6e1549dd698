// A library that the tests load at run time: built without frame pointers, bound lazily.
#include <cstdlib>

extern "C" int ForeignRecursion(int depth, int (*callee)()) {
  volatile char buffer[33];
  buffer[depth] = static_cast<char>(depth);
  if (depth == 0) return callee() + buffer[0];
  return ForeignRecursion(depth - 1, callee) * 3 + buffer[depth];
}

// The first call of each library function goes through the dynamic linker's resolver.
extern "C" int ForeignLazyCall(const char* number) {
  return static_cast<int>(std::strtod(number, nullptr)) + std::abs(std::atoi(number));
}
