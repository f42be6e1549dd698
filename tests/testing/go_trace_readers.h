// Reads what the encoders of execution traces write, in terms of what they were given: for tests that go there and
// back. What the formats demand beyond that is for pprof/trace's strict reader and for Go's own to judge.
#ifndef FIBERSCOPE_TESTS_TESTING_GO_TRACE_READERS_H_
#define FIBERSCOPE_TESTS_TESTING_GO_TRACE_READERS_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "runtime/trace/trace_generation.h"

namespace fiberscope::testing {

// Of the form of Go 1.22 or 1.23. Numbers of generations begin with 1; an address of a stack is the identity of a
// frame. Statuses that are nobody's come back as TraceGeneration::statuses, in 1.22 without their stacks. Texts are
// without those of reasons, which must be as trace_reason_text.h has them, and with those of frames. Nothing: it does
// not have that form.
std::optional<TraceGenerations> ReadGo122Trace(std::string_view bytes);

// How often each record occurs in the form of Go 1.19, by its number. Nothing: it does not have that form.
std::optional<std::array<uint64_t, 64>> CountGo119Records(std::string_view bytes);

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_GO_TRACE_READERS_H_
