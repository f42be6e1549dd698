#include "runtime/io/await.h"

#include <boost/system/system_error.hpp>

namespace fiberscope::internal {

std::exception_ptr CurrentExceptionForAsio() {
  try {
    throw;
  } catch (const WaitCancelled&) {
    return std::make_exception_ptr(
        boost::system::system_error(boost::system::error_code(boost::asio::error::operation_aborted)));
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace fiberscope::internal
