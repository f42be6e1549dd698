// A TCP client that sends the bytes it is told to send, and shows what comes back: for tests of the server.
#ifndef FIBERSCOPE_TESTS_TESTING_RAW_CLIENT_H_
#define FIBERSCOPE_TESTS_TESTING_RAW_CLIENT_H_

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiberscope::testing {

struct HttpReply {
  int status = 0;  // 0: there was none
  std::string status_line;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  std::vector<size_t> chunks;  // sizes, of a chunked body
  bool complete = false;       // the body ended as it should

  // "" if absent; a field that is there twice fails the test.
  std::string Field(std::string_view name) const;
  bool Has(std::string_view name) const;
};

// Thread-compatible. Blocks the thread: the test's own time limit is the deadline.
class RawClient {
 public:
  enum class End { kClosed, kReset };

  // Makes a socket, with a receive buffer of that size if it is not 0. Connect() uses no further descriptor.
  explicit RawClient(int receive_buffer_bytes = 0);
  ~RawClient() { Close(); }
  RawClient(RawClient&& other) noexcept : socket_(std::exchange(other.socket_, -1)), input_(std::move(other.input_)) {}
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // To 127.0.0.1. False, with errno set, when that fails.
  bool Connect(uint16_t port);

  // False when the server has closed or reset the connection.
  bool Send(std::string_view bytes);
  // "METHOD target HTTP/1.1", Host: localhost, and `fields`, each ended by CR LF.
  bool Request(std::string_view method, std::string_view target, std::string_view fields = "");
  void ShutdownSend();
  void Close();
  // Closes with a reset.
  void Abort();

  // The next response. `to_head`: it answers a HEAD and has no body.
  HttpReply Read(bool to_head = false);
  // Whether there is something to read, or the connection has ended, within `timeout`.
  bool Readable(std::chrono::milliseconds timeout) const;
  // Drops what still comes, until the server ends the connection.
  End AwaitEnd();

 private:
  // More bytes into input_; false at the end.
  bool Fill();
  bool ReadLine(std::string& line);
  bool ReadExactly(size_t count, std::string& bytes);
  bool ReadChunks(HttpReply& reply);

  int socket_;
  std::string input_;
};

// One request on a connection of its own.
HttpReply Fetch(uint16_t port, std::string_view target, std::string_view method = "GET", std::string_view fields = "",
                std::string_view body = "");

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_TESTING_RAW_CLIENT_H_
