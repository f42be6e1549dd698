// How Go spells arbitrary text so that it stays on its line: labels, names, file names.
//
// Everything here is safe to print: no line break, no control character, no invalid UTF-8 gets through, so that whoever
// chooses a label cannot forge a line of a dump.
//
// Thread-safe (pure functions).
#ifndef FIBERSCOPE_PPROF_ENCODE_GO_QUOTE_H_
#define FIBERSCOPE_PPROF_ENCODE_GO_QUOTE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace fiberscope::pprof {

// strconv.Quote: in double quotes, printable Unicode raw, \" \\ \a \b \f \n \r \t \v, else \xNN, \uNNNN, \UNNNNNNNN.
// Used for labels in debug=1.
std::string GoQuote(std::string_view text);

// The traceback's rule, used for labels in debug=2: as it is if it has only characters of [A-Za-z0-9./_] (or none),
// else in double quotes and ASCII only: \" \\ \n \r \t, else \xNN (controls, invalid bytes), \uNNNN, \UNNNNNNNN.
std::string GoDumpQuote(std::string_view text);

// Without quotes: what GoQuote escapes is escaped, but for the quote and the backslash. For names of functions and
// files, which are printed bare.
std::string EscapeLine(std::string_view text);

// The first `limit` bytes, at a character's boundary, and "..." if that is not all.
std::string CutText(std::string_view text, size_t limit);

}  // namespace fiberscope::pprof

#endif  // FIBERSCOPE_PPROF_ENCODE_GO_QUOTE_H_
