// Values as JSON text, in the spelling of Go's encoding/json. Thread-safe (pure functions).
#ifndef FIBERSCOPE_SERVER_RENDER_JSON_H_
#define FIBERSCOPE_SERVER_RENDER_JSON_H_

#include <boost/json/value.hpp>
#include <string>
#include <string_view>

namespace fiberscope::server {

// Appends `text` in quotes, with quotes, backslashes and control characters escaped. Safe inside of HTML: < > & and the line
// separators U+2028 and U+2029 are \uNNNN. Bytes that are no UTF-8 become U+FFFD. Format: Go 1.23 expvar, appendJSONQuote.
void AppendJsonString(std::string_view text, std::string& out);

// Appends the shortest decimal that reads back as `number`, with an exponent below 1e-6 and from 1e21 on. What JSON has no number
// for, infinities and NaN, is null. Format: Go 1.23 encoding/json, floatEncoder.
void AppendJsonNumber(double number, std::string& out);

// Appends any value, without spaces. Objects keep the order of their members, names that repeat included.
void AppendJson(const boost::json::value& value, std::string& out);

}  // namespace fiberscope::server

#endif  // FIBERSCOPE_SERVER_RENDER_JSON_H_
