// GET /debug/pprof/cmdline: the program's arguments, joined by NUL bytes. Format: Go 1.27 net/http/pprof, Cmdline.
//
// Values of flags that look like secrets (pass, secret, token, key, cred, auth in the flag's name) are replaced by REDACTED.
#ifndef FIBERSCOPE_SERVER_HANDLERS_CMDLINE_H_
#define FIBERSCOPE_SERVER_HANDLERS_CMDLINE_H_

#include <string>
#include <string_view>

#include "server/http/router.h"

namespace fiberscope::server {

Handler MakeCmdlineHandler();

// `raw` as /proc/self/cmdline has it: each argument ended by a NUL. The result has none at the end.
std::string RedactCmdline(std::string_view raw);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_HANDLERS_CMDLINE_H_
