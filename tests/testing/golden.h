// Compares output with a file that was checked by eye once: tests/golden/README.md.
#ifndef FIBERSCOPE_TESTS_TESTING_GOLDEN_H_
#define FIBERSCOPE_TESTS_TESTING_GOLDEN_H_

#include <string>

namespace fiberscope {

// Fails the test unless `text` is exactly the content of tests/golden/`name`. Under `REGENERATE_GOLDEN=1 bazel run` it
// writes that file instead.
void ExpectGolden(const std::string& name, const std::string& text);

}  // namespace fiberscope

#endif  // FIBERSCOPE_TESTS_TESTING_GOLDEN_H_
