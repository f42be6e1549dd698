// /debug/pprof/symbol: addresses to function names, for tools that fetched a profile without symbols.
//
// Addresses come as the raw query (GET) or the body (POST), separated by '+', in Go's number syntax: 0x1f, 017, 0o17, 0b11, 42,
// with underscores between digits or behind a prefix. Each known one gives a line "0x<hex> <name>"; unknown and unreadable ones
// give none. Format: Go 1.27 net/http/pprof, Symbol.
#ifndef FIBERSCOPE_SERVER_HANDLERS_SYMBOL_H_
#define FIBERSCOPE_SERVER_HANDLERS_SYMBOL_H_

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "pprof/symbolizer.h"
#include "server/http/router.h"

namespace fiberscope::server {

inline constexpr size_t kMaxSymbolAddresses = 65'536;
inline constexpr size_t kMaxSymbolWordBytes = 4'096;

// `symbolizer` must outlive the handler.
Handler MakeSymbolHandler(pprof::Symbolizer& symbolizer);

// Nothing: not a number, or it does not fit 64 bits.
std::optional<uint64_t> ParseAddress(std::string_view word);

struct SymbolRequest {
  std::vector<uint64_t> addresses;  // in order, repeated ones too; zero and unreadable ones left out
  bool word_too_long = false;       // reading stopped at a word of kMaxSymbolWordBytes or more
  bool too_many = false;            // more than kMaxSymbolAddresses
};
SymbolRequest ParseSymbolRequest(std::string_view text);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_SYMBOL_H_
