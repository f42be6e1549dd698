#include "server/http/response_stream.h"

#include <algorithm>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/fields.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/write.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "runtime/base/check.h"

namespace fiberscope::server {
namespace {

namespace http = boost::beast::http;

// What every response carries: a debug page is never cached, framed, sniffed, or readable from another origin.
constexpr std::pair<const char*, const char*> kFixedFields[] = {
    {"X-Content-Type-Options", "nosniff"},        {"Cache-Control", "no-store"},
    {"X-Frame-Options", "DENY"},                  {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"}, {"Cross-Origin-Opener-Policy", "same-origin"},
};

bool IsFieldName(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return absl::ascii_isalnum(c) || c == '-'; });
}

bool IsFieldValue(std::string_view value) {
  return std::ranges::none_of(value, [](char c) { return absl::ascii_iscntrl(c); });
}

}  // namespace

std::string SerializeHead(const ResponseHead& head, const ResponseMode& mode, std::string_view framing_field) {
  http::response<http::empty_body> message;
  message.version(mode.http_1_0 ? 10 : 11);
  message.result(static_cast<unsigned>(head.status));
  const auto set = [&](std::string_view name, std::string_view value) {
    if (IsFieldName(name) && IsFieldValue(value)) {
      message.set(boost::beast::string_view(name.data(), name.size()),
                  boost::beast::string_view(value.data(), value.size()));
    }
  };
  set("Content-Type", head.content_type);
  for (const auto& [name, value] : kFixedFields) set(name, value);
  for (const auto& [name, value] : head.fields) set(name, value);
  // "Name: value"
  if (const size_t colon = framing_field.find(": "); colon != std::string_view::npos) {
    set(framing_field.substr(0, colon), framing_field.substr(colon + 2));
  }
  if (!mode.keep_alive) set("Connection", "close");
  if (mode.keep_alive && mode.http_1_0) set("Connection", "keep-alive");
  std::ostringstream text;
  text << message.base();
  return std::move(text).str();
}

void ResponseStream::Send(Response response) {
  Begin(std::move(response.head));
  body_ = std::move(response.body);
  state_ = State::kFinished;
}

void ResponseStream::Begin(ResponseHead head) {
  FIBERSCOPE_CHECK(state_ == State::kNothing, "a handler answers a request twice");
  head_ = std::move(head);
  state_ = State::kBegun;
}

absl::Status ResponseStream::Write(std::string_view bytes) {
  FIBERSCOPE_CHECK(state_ == State::kBegun || state_ == State::kStreaming, "a handler writes outside of a response");
  while (status_.ok() && !bytes.empty()) {
    const size_t room = flush_ ? kChunkBytes - body_.size() : bytes.size();
    body_.append(bytes.substr(0, room));
    bytes.remove_prefix(std::min(room, bytes.size()));
    if (flush_ && body_.size() >= kChunkBytes) status_ = FlushChunk(false);
  }
  return status_;
}

absl::Status ResponseStream::Finish() {
  FIBERSCOPE_CHECK(state_ == State::kBegun || state_ == State::kStreaming, "a handler finishes no response");
  if (status_.ok() && state_ == State::kStreaming) status_ = FlushChunk(true);
  if (status_.ok()) state_ = State::kFinished;
  return status_;
}

absl::Status ResponseStream::WaitFor(std::chrono::nanoseconds time) {
  FIBERSCOPE_CHECK(wait_ != nullptr, "a handler waits whose route is not timed");
  if (status_.ok() && (state_ == State::kBegun || !body_.empty())) status_ = FlushChunk(false);
  if (!status_.ok()) return status_;
  const bool in_chunks = state_ == State::kStreaming && !close_delimited_;
  Waited waited = wait_(time, probed_ ? Probe::kSent : in_chunks ? Probe::kAllowed : Probe::kForbidden);
  probed_ = waited.probe == Probe::kSent;
  return status_ = std::move(waited.status);
}

void ResponseStream::Fail(const absl::Status& why) {
  if (state_ == State::kFinished) return;
  if (state_ == State::kStreaming) {
    status_.Update(why);
    return;
  }
  const int code = why.code() == absl::StatusCode::kUnimplemented ? 501 : 500;
  Response response = ErrorResponse(code, why);
  head_ = std::move(response.head);
  body_ = std::move(response.body);
  state_ = State::kFinished;
}

std::string ResponseStream::Head(std::string_view framing_field) {
  return SerializeHead(head_, {mode_.head_only, mode_.http_1_0, mode_.keep_alive && !close_delimited_}, framing_field);
}

absl::Status ResponseStream::FlushChunk(bool last) {
  std::string wire;
  if (state_ == State::kBegun) {
    close_delimited_ = mode_.http_1_0;
    wire = Head(close_delimited_ ? "" : "Transfer-Encoding: chunked");
    state_ = State::kStreaming;
    head_out_ = true;
  }
  if (!mode_.head_only) {
    if (close_delimited_) {
      wire += body_;
    } else {
      if (!body_.empty()) {
        wire.append(absl::StrFormat("%x\r\n", body_.size())).append(body_).append("\r\n");
        probed_ = false;
      }
      // The probe's zero may be the last chunk's size itself.
      if (last) wire += probed_ ? "\r\n\r\n" : "0\r\n\r\n";
    }
  }
  body_.clear();
  if (last) {
    wire_ = std::move(wire);  // goes out with Take(), so the handler's thread need not wait for it
    return absl::OkStatus();
  }
  return flush_(std::move(wire));
}

ResponseStream::Rest ResponseStream::Take() {
  if (state_ == State::kStreaming) return {"", false, true};
  if (state_ != State::kFinished) Fail(absl::InternalError("the handler ended without an answer"));
  if (!head_out_) {
    // A handler that leaves out the body because of HEAD does not say how long it would have been.
    const bool length_known = !mode_.head_only || !body_.empty();
    wire_ = Head(length_known ? absl::StrFormat("Content-Length: %d", body_.size()) : "");
    if (!mode_.head_only) wire_ += body_;
  }
  return {std::move(wire_), mode_.keep_alive && !close_delimited_, false};
}

}  // namespace fiberscope::server
