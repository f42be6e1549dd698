// Labels as the text forms print them.
#ifndef FIBERSCOPE_PPROF_ENCODE_LABEL_TEXT_H_
#define FIBERSCOPE_PPROF_ENCODE_LABEL_TEXT_H_

#include <span>
#include <string>
#include <string_view>

#include "runtime/labels.h"

namespace fiberscope::pprof {

// Labels come from users' data, so both forms are escaped (go_quote.h) and bounded: a key or value is cut after 256
// bytes, the list after 16 KiB with "..." as its last element. Go's readers fail on lines of 64 KiB, and one hostile
// label must not make a whole profile unreadable.
//
// Thread-safe (pure functions).

// debug=1: {"k":"v", "k2":"v2"}, sorted by the quoted pairs.
std::string CountLabels(std::span<const Label> labels);

// debug=2: {k: v, k2: v2}, sorted by key; "" if there is nothing to print. A fiber's name is shown as the label "name",
// unless it has a label of that key.
std::string DumpLabels(std::span<const Label> labels, std::string_view fiber_name);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_LABEL_TEXT_H_
