// A bounded cursor over DWARF bytes: fixed-size integers, LEB128 numbers, encoded pointers.
//
// The bytes come from files that somebody else wrote, so nothing is trusted: a read beyond the end, or of an encoding
// that cannot be followed, returns zero and puts the reader into a failed state in which it stays at the end. Parsers
// therefore read on and ask ok() once per record; every loop that ends AtEnd() ends.
//
// Format: DWARF 5 section 7.6 (LEB128), LSB 5.0 section 10.5 (DW_EH_PE pointer encodings).
//
// Thread-compatible. Async-signal-safe. Never blocks.
#ifndef FIBERSCOPE_RUNTIME_UNWIND_DWARF_READER_H_
#define FIBERSCOPE_RUNTIME_UNWIND_DWARF_READER_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace fiberscope {

// How a pointer is stored: format in the low four bits, what it is relative to in the next three.
namespace pointer_encoding {
inline constexpr uint8_t kFormatMask = 0x0f;
inline constexpr uint8_t kAbsolute = 0x00;  // format: a native pointer; base: none
inline constexpr uint8_t kBaseMask = 0x70;
inline constexpr uint8_t kPcRelative = 0x10;    // to the address of the encoded value
inline constexpr uint8_t kDataRelative = 0x30;  // to the start of .eh_frame_hdr
inline constexpr uint8_t kIndirect = 0x80;      // the address of the pointer; never followed here
inline constexpr uint8_t kOmitted = 0xff;
}  // namespace pointer_encoding

class DwarfReader {
 public:
  explicit DwarfReader(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool ok() const { return ok_; }
  bool AtEnd() const { return bytes_.empty(); }
  const uint8_t* position() const { return bytes_.data(); }
  std::span<const uint8_t> rest() const { return bytes_; }

  template <typename Integer>
  Integer Read() {
    Integer value = 0;
    if (bytes_.size() < sizeof(value)) return Fail();
    std::memcpy(&value, bytes_.data(), sizeof(value));
    bytes_ = bytes_.subspan(sizeof(value));
    return value;
  }

  // Bits beyond the 64th are dropped, as everybody does.
  uint64_t ReadUleb128() {
    uint64_t value = 0;
    int shift = 0;
    uint8_t byte;
    do {
      byte = Read<uint8_t>();
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
      shift = std::min(shift + 7, 64);
    } while (byte & 0x80);
    return value;
  }

  int64_t ReadSleb128() {
    uint64_t value = 0;
    int shift = 0;
    uint8_t byte;
    do {
      byte = Read<uint8_t>();
      if (shift < 64) value |= uint64_t{byte & 0x7fu} << shift;
      shift = std::min(shift + 7, 64);
    } while (byte & 0x80);
    if (shift < 64 && (byte & 0x40)) value |= ~uint64_t{0} << shift;
    return static_cast<int64_t>(value);
  }

  std::span<const uint8_t> ReadBytes(uint64_t count) {
    if (count > bytes_.size()) {
      Fail();
      return {};
    }
    const auto bytes = bytes_.first(count);
    bytes_ = bytes_.subspan(count);
    return bytes;
  }

  // Without the terminating zero.
  std::string_view ReadCString() {
    const auto end = std::find(bytes_.begin(), bytes_.end(), uint8_t{0});
    if (end == bytes_.end()) {
      Fail();
      return {};
    }
    const auto text = ReadBytes(end - bytes_.begin());
    Read<uint8_t>();
    return {reinterpret_cast<const char*>(text.data()), text.size()};
  }

  // The value as stored, without its base: for lengths, and to step over a pointer that nobody needs.
  uint64_t ReadUnrelocated(uint8_t encoding) {
    switch (encoding & pointer_encoding::kFormatMask) {
      case 0x00:
      case 0x04:
      case 0x0c:
        return Read<uint64_t>();
      case 0x01:
        return ReadUleb128();
      case 0x02:
        return Read<uint16_t>();
      case 0x03:
        return Read<uint32_t>();
      case 0x09:
        return static_cast<uint64_t>(ReadSleb128());
      case 0x0a:
        return static_cast<uint64_t>(int64_t{Read<int16_t>()});
      case 0x0b:
        return static_cast<uint64_t>(int64_t{Read<int32_t>()});
      default:
        return Fail();
    }
  }

  // A pointer. Zero stays zero whatever it is relative to: that is how a linker marks what it threw away.
  uint64_t ReadPointer(uint8_t encoding, uintptr_t data_base = 0) {
    const uintptr_t here = reinterpret_cast<uintptr_t>(position());
    if (encoding & pointer_encoding::kIndirect) return Fail();
    const uint64_t value = ReadUnrelocated(encoding);
    if (value == 0) return 0;
    switch (encoding & pointer_encoding::kBaseMask) {
      case pointer_encoding::kAbsolute:
        return value;
      case pointer_encoding::kPcRelative:
        return value + here;
      case pointer_encoding::kDataRelative:
        return value + data_base;
      default:
        return Fail();
    }
  }

 private:
  uint8_t Fail() {
    ok_ = false;
    bytes_ = bytes_.last(0);
    return 0;
  }

  std::span<const uint8_t> bytes_;
  bool ok_ = true;
};

}  // namespace fiberscope

#endif  // FIBERSCOPE_RUNTIME_UNWIND_DWARF_READER_H_
