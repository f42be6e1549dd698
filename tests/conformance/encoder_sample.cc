// Writes what the encoders make of the shop, of nothing, of hostile data and of much data, for Go's tools to judge.
//
//   encoder_sample DIRECTORY
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "pprof/byte_sink.h"
#include "pprof/encode/go_quote.h"
#include "pprof/encode/printable.h"
#include "pprof/encode/proto_encoder.h"
#include "pprof/sources/goroutine_source.h"
#include "tests/testing/shop.h"

namespace fiberscope::pprof {
namespace {

class FileSink : public ByteSink {
 public:
  explicit FileSink(const std::string& path) : out_(path, std::ios::binary) {}

  absl::Status Write(std::string_view bytes) override {
    out_.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return out_.good() ? absl::OkStatus() : absl::UnknownError("write failed");
  }

 private:
  std::ofstream out_;
};

bool WriteProfile(Shop& shop, const std::string& path) {
  GoroutineSource source(shop.symbolizer(), shop.Inputs());
  FileSink proto(path + ".pb.gz");
  FileSink debug1(path + "_debug1.txt");
  const absl::StatusOr<Profile> profile = source.Collect();
  return profile.ok() && EncodeProfile(*profile, proto).ok() && source.WriteText(1, debug1).ok();
}

// Whatever a label, a name, a symbol or a path may contain.
void MakeHostile(Shop& shop) {
  std::string all_bytes;
  for (int c = 0; c < 256; ++c) all_bytes += static_cast<char>(c);
  const std::string forged = "}\n\n9 @ 0x1 0x2\n# labels: {\"a\":\"b\"}\n";
  shop.symbolizer().Function(0x408000, 0x408100, {all_bytes + "()", "_Z" + all_bytes, "/tmp/" + all_bytes, 1, 1});
  shop.symbolizer().Function(0x408100, 0x408200, {forged, "", forged, -1, -1});
  for (uint64_t id = 100; id < 110; ++id) {
    TestFiber fiber;
    fiber.snapshot.id = {id};
    fiber.snapshot.state = FiberState::kWaiting;
    fiber.name = forged;
    fiber.labels = {{"", ""}, {all_bytes, forged}, {forged, std::string(100'000, '\xff')}};
    fiber.stack = {0x408080, 0x408180, id};
    shop.fibers().push_back(fiber);
  }
  TestFiber nothing;
  nothing.snapshot.id = {200};
  shop.fibers().push_back(nothing);
}

// 100,000 distinct stacks, ten deep.
void MakeLarge(Shop& shop) {
  shop.fibers().clear();
  std::mt19937_64 random(1);
  for (uint64_t id = 1; id <= 100'000; ++id) {
    TestFiber fiber;
    fiber.snapshot.id = {id};
    fiber.snapshot.state = FiberState::kWaiting;
    for (int depth = 0; depth < 10; ++depth) fiber.stack.push_back(0x401001 + random() % 0x3000);
    shop.fibers().push_back(fiber);
  }
}

// Lines "hex of a text, hex of GoQuote(text)": each byte, each pair of bytes, and texts of odd characters.
bool WriteQuotes(const std::string& path) {
  std::ofstream out(path);
  const auto add = [&out](const std::string& text) {
    out << absl::BytesToHexString(text) << " " << absl::BytesToHexString(GoQuote(text)) << "\n";
  };
  for (int a = 0; a < 256; ++a) {
    add({static_cast<char>(a)});
    for (int b = 0; b < 256; ++b) add({static_cast<char>(a), static_cast<char>(b)});
  }
  std::mt19937 random(1);
  for (int i = 0; i < 20'000; ++i) {
    std::string text;
    for (int length = random() % 8; length >= 0; --length)
      text += static_cast<char>("\xe2\x80\xa8\xf0\x9f\xed\xff\"\\ \na"[random() % 12]);
    add(text);
  }
  return out.good();
}

// The code points that are printed raw, in hex.
bool WritePrintable(const std::string& path) {
  std::ofstream out(path);
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (IsPrintable(c)) out << std::hex << c << "\n";
  }
  return out.good();
}

bool WriteAll(const std::string& directory) {
  Shop shop;
  Shop hostile;
  MakeHostile(hostile);
  Shop large;
  MakeLarge(large);
  Shop empty;
  empty.fibers().clear();
  return WriteProfile(shop, directory + "/shop") && WriteProfile(hostile, directory + "/hostile") &&
         WriteProfile(large, directory + "/large") && WriteProfile(empty, directory + "/empty") &&
         WriteQuotes(directory + "/quotes.txt") && WritePrintable(directory + "/printable.txt");
}

}  // namespace
}  // namespace fiberscope::pprof

int main(int argc, char** argv) {
  if (argc == 2 && fiberscope::pprof::WriteAll(argv[1])) return 0;
  fprintf(stderr, "usage: encoder_sample DIRECTORY, which must be writable\n");
  return 1;
}
