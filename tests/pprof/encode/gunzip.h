// What a reader makes of gzip'ed bytes.
#ifndef FIBERSCOPE_TESTS_PPROF_ENCODE_GUNZIP_H_
#define FIBERSCOPE_TESTS_PPROF_ENCODE_GUNZIP_H_

#include <optional>
#include <string>
#include <string_view>

namespace fiberscope::pprof {

// The content of exactly one complete gzip member; nothing if there is less, more, or something else.
std::optional<std::string> Gunzip(std::string_view member);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_TESTS_PPROF_ENCODE_GUNZIP_H_
