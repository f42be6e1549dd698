// Any bytes as the body of /debug/pprof/symbol: nothing crashes, limits hold, and a number that is read can be written and read
// again.
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "server/handlers/symbol.h"

namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace fiberscope::server;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const SymbolRequest request = ParseSymbolRequest(text);
  Check(request.addresses.size() <= kMaxSymbolAddresses);
  Check(request.addresses.size() <= (size + 1) / 2);  // a digit each, and a plus between them
  Check(!request.word_too_long || size >= kMaxSymbolWordBytes);
  for (const uint64_t address : request.addresses) {
    Check(address != 0);
    char hexadecimal[32];
    std::snprintf(hexadecimal, sizeof(hexadecimal), "0x%llx", static_cast<unsigned long long>(address));
    Check(ParseAddress(hexadecimal) == address);
  }
  if (const std::optional<uint64_t> whole = ParseAddress(text); whole.has_value() && *whole != 0 && size < kMaxSymbolWordBytes) {
    Check(request.addresses.size() == 1);
    Check(request.addresses[0] == *whole);
  }
  return 0;
}
