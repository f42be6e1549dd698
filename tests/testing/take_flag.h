// Numbers on the command line of tests that also run as soak tests: --seed=7.
#ifndef FIBERSCOPE_TESTS_TESTING_TAKE_FLAG_H_
#define FIBERSCOPE_TESTS_TESTING_TAKE_FLAG_H_

#include <charconv>
#include <string_view>
#include <system_error>

namespace fiberscope::testing {

// Whether `argument` is `prefix` and a number, which `value` is set to then.
template <typename T>
bool TakeFlag(std::string_view argument, std::string_view prefix, T& value) {
  if (!argument.starts_with(prefix)) return false;
  argument.remove_prefix(prefix.size());
  return std::from_chars(argument.data(), argument.data() + argument.size(), value).ec == std::errc();
}

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_TAKE_FLAG_H_
