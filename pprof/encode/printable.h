// Which characters Go prints as they are: strconv.IsPrint.
#ifndef FIBERSCOPE_PPROF_ENCODE_PRINTABLE_H_
#define FIBERSCOPE_PPROF_ENCODE_PRINTABLE_H_

namespace fiberscope::pprof {

// Letters, marks, numbers, punctuation, symbols (Unicode categories L, M, N, P, S) and the ASCII space: not other
// blanks, controls, surrogates, private use or what is unassigned. By Unicode 14; Go's answer differs for characters
// assigned between that and the version its release was built with, which only means that one of the two escapes them.
//
// Thread-safe. Cost: a binary search of 700 ranges beyond ASCII.
bool IsPrintable(char32_t code_point);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_PRINTABLE_H_
