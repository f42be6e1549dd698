#include "tests/testing/raw_client.h"

#include <netinet/in.h>
#include <poll.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "gtest/gtest.h"

namespace fiberscope::testing {
namespace {

bool SameName(const std::string& a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

bool HttpReply::Has(std::string_view name) const {
  for (const auto& field : fields) {
    if (SameName(field.first, name)) return true;
  }
  return false;
}

std::string HttpReply::Field(std::string_view name) const {
  std::string found;
  int count = 0;
  for (const auto& [field, value] : fields) {
    if (!SameName(field, name)) continue;
    found = value;
    ++count;
  }
  EXPECT_LE(count, 1) << name << " is there " << count << " times";
  return found;
}

RawClient::RawClient(int receive_buffer_bytes) : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  EXPECT_GE(socket_, 0) << "errno " << errno;
  if (receive_buffer_bytes != 0) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
  }
}

bool RawClient::Connect(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawClient::Request(std::string_view method, std::string_view target, std::string_view fields) {
  std::string text(method);
  text.append(" ").append(target).append(" HTTP/1.1\r\nHost: localhost\r\n").append(fields).append("\r\n");
  return Send(text);
}

void RawClient::ShutdownSend() { shutdown(socket_, SHUT_WR); }

void RawClient::Close() {
  if (socket_ >= 0) close(std::exchange(socket_, -1));
}

void RawClient::Abort() {
  const linger at_once{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  Close();
}

bool RawClient::Readable(std::chrono::milliseconds timeout) const {
  if (!input_.empty()) return true;
  pollfd waiting{socket_, POLLIN, 0};
  return poll(&waiting, 1, static_cast<int>(timeout.count())) > 0;
}

bool RawClient::Fill() {
  char bytes[16 * 1024];
  for (;;) {
    const ssize_t got = recv(socket_, bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    input_.append(bytes, static_cast<size_t>(got));
    return true;
  }
}

bool RawClient::ReadLine(std::string& line) {
  size_t end;
  while ((end = input_.find("\r\n")) == std::string::npos) {
    if (!Fill()) return false;
  }
  line = input_.substr(0, end);
  input_.erase(0, end + 2);
  return true;
}

bool RawClient::ReadExactly(size_t count, std::string& bytes) {
  while (input_.size() < count) {
    if (!Fill()) break;
  }
  const bool all = input_.size() >= count;
  const size_t taken = all ? count : input_.size();
  bytes.append(input_, 0, taken);
  input_.erase(0, taken);
  return all;
}

bool RawClient::ReadChunks(HttpReply& reply) {
  for (;;) {
    std::string line;
    if (!ReadLine(line)) return false;
    const size_t size = std::strtoull(line.c_str(), nullptr, 16);
    if (size == 0) return ReadLine(line);
    reply.chunks.push_back(size);
    if (!ReadExactly(size, reply.body) || !ReadLine(line)) return false;
  }
}

HttpReply RawClient::Read(bool to_head) {
  HttpReply reply;
  std::string line;
  if (!ReadLine(line)) return reply;
  reply.status_line = line;
  EXPECT_TRUE(line.starts_with("HTTP/1.")) << line;
  reply.status = line.size() > 9 ? std::atoi(line.c_str() + 9) : 0;
  while (ReadLine(line) && !line.empty()) {
    const size_t colon = line.find(": ");
    EXPECT_NE(colon, std::string::npos) << line;
    if (colon != std::string::npos) reply.fields.emplace_back(line.substr(0, colon), line.substr(colon + 2));
  }
  if (!line.empty()) return reply;
  if (to_head || reply.status == 100) {
    reply.complete = true;
  } else if (reply.Has("Transfer-Encoding")) {
    reply.complete = ReadChunks(reply);
  } else if (reply.Has("Content-Length")) {
    reply.complete = ReadExactly(std::strtoull(reply.Field("Content-Length").c_str(), nullptr, 10), reply.body);
  } else {
    reply.complete = AwaitEnd() == End::kClosed;
    reply.body = std::exchange(input_, {});
  }
  return reply;
}

RawClient::End RawClient::AwaitEnd() {
  errno = 0;
  while (Fill()) {
  }
  return errno == ECONNRESET ? End::kReset : End::kClosed;
}

HttpReply Fetch(uint16_t port, std::string_view target, std::string_view method, std::string_view fields,
                std::string_view body) {
  RawClient client;
  EXPECT_TRUE(client.Connect(port)) << "errno " << errno;
  std::string all(fields);
  if (!body.empty()) all += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  client.Request(method, target, all);
  client.Send(body);
  return client.Read(method == "HEAD");
}

}  // namespace fiberscope::testing
