// A loaded object made of bytes, for the code that reads .eh_frame.
#ifndef FIBERSCOPE_TESTS_RUNTIME_UNWIND_FAKE_OBJECT_H_
#define FIBERSCOPE_TESTS_RUNTIME_UNWIND_FAKE_OBJECT_H_

#include <link.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <span>

namespace fiberscope::testing {

// One readable segment of exactly the given bytes, .eh_frame_hdr first, in a heap block of their size, so that
// AddressSanitizer sees a read beyond them. One executable segment: the 64 KiB of addresses before that block and the
// block itself. Nothing is there, and nothing may look.
class FakeObject {
 public:
  static constexpr uintptr_t kCodeBytes = 64 << 10;

  explicit FakeObject(std::span<const uint8_t> bytes) : bytes_(std::make_unique<uint8_t[]>(bytes.size())) {
    std::copy(bytes.begin(), bytes.end(), bytes_.get());
    const auto address = reinterpret_cast<uintptr_t>(bytes_.get());
    headers_[0].p_type = PT_LOAD;
    headers_[0].p_flags = PF_R;
    headers_[0].p_vaddr = address;
    headers_[0].p_memsz = bytes.size();
    headers_[1].p_type = PT_LOAD;
    headers_[1].p_flags = PF_X;
    headers_[1].p_vaddr = address - kCodeBytes;
    headers_[1].p_memsz = kCodeBytes + bytes.size();
    headers_[2].p_type = PT_GNU_EH_FRAME;
    headers_[2].p_vaddr = address;
    info_.dlpi_name = "fake";
    info_.dlpi_phdr = headers_.data();
    info_.dlpi_phnum = headers_.size();
  }

  const dl_phdr_info& info() const { return info_; }
  ElfW(Phdr) & readable() { return headers_[0]; }
  ElfW(Phdr) & code() { return headers_[1]; }
  uintptr_t code_begin() const { return headers_[1].p_vaddr; }
  uintptr_t code_end() const { return headers_[1].p_vaddr + headers_[1].p_memsz; }

 private:
  std::unique_ptr<uint8_t[]> bytes_;
  std::array<ElfW(Phdr), 3> headers_ = {};
  dl_phdr_info info_ = {};
};

}  // namespace fiberscope::testing

#endif  // FIBERSCOPE_TESTS_RUNTIME_UNWIND_FAKE_OBJECT_H_
