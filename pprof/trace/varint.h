// The numbers of Go's trace formats, both families: unsigned LEB128.
#ifndef FIBERSCOPE_PPROF_TRACE_VARINT_H_
#define FIBERSCOPE_PPROF_TRACE_VARINT_H_

#include <cstdint>
#include <string>

namespace fiberscope::pprof {

inline void AppendVarint(std::string& bytes, uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
}

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_TRACE_VARINT_H_
