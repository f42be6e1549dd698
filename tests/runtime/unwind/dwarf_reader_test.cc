#include "runtime/unwind/dwarf_reader.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace fiberscope {
namespace {

using Bytes = std::vector<uint8_t>;

TEST(DwarfReaderTest, ReadsLittleEndianIntegers) {
  const Bytes bytes = {0x01, 0x02, 0x03, 0xff, 0xff};
  DwarfReader reader(bytes);
  EXPECT_EQ(reader.Read<uint8_t>(), 1);
  EXPECT_EQ(reader.Read<uint16_t>(), 0x0302);
  EXPECT_EQ(reader.Read<int16_t>(), -1);
  EXPECT_TRUE(reader.ok());
  EXPECT_TRUE(reader.AtEnd());
}

TEST(DwarfReaderTest, AReadBeyondTheEndFailsForGood) {
  const Bytes bytes = {1, 2, 3};
  DwarfReader reader(bytes);
  EXPECT_EQ(reader.Read<uint32_t>(), 0u);
  EXPECT_FALSE(reader.ok());
  EXPECT_TRUE(reader.AtEnd());
  EXPECT_EQ(reader.Read<uint8_t>(), 0u);
}

// Examples of DWARF 5 tables 7.7 and 7.8, and the edges.
TEST(DwarfReaderTest, ReadsLeb128) {
  struct Case {
    Bytes bytes;
    uint64_t unsigned_value;
    int64_t signed_value;
  };
  const Case cases[] = {
      {{2}, 2, 2},
      {{127}, 127, -1},
      {{0x80, 1}, 128, 128},
      {{0x7e}, 126, -2},
      {{0xff, 0x7e}, 16255, -129},
      {{0x80, 0x7f}, 16256, -128},
      {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, std::numeric_limits<uint64_t>::max(), -1},
      {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x7f},
       uint64_t{1} << 63,
       std::numeric_limits<int64_t>::min()},
      {{0x85, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00}, 5, 5},
  };
  for (const Case& c : cases) {
    DwarfReader unsigned_reader(c.bytes);
    EXPECT_EQ(unsigned_reader.ReadUleb128(), c.unsigned_value);
    EXPECT_TRUE(unsigned_reader.ok() && unsigned_reader.AtEnd());
    DwarfReader signed_reader(c.bytes);
    EXPECT_EQ(signed_reader.ReadSleb128(), c.signed_value);
    EXPECT_TRUE(signed_reader.ok() && signed_reader.AtEnd());
  }
}

TEST(DwarfReaderTest, Leb128WithoutItsLastByteFails) {
  const Bytes bytes(40, 0x80);
  DwarfReader reader(bytes);
  reader.ReadUleb128();
  EXPECT_FALSE(reader.ok());
}

TEST(DwarfReaderTest, ReadsPointersRelativeToTheirPlaceAndToABase) {
  const Bytes bytes = {0xfc, 0xff, 0xff, 0xff, 0x10, 0x00, 0x00, 0x00, 0x08, 0x00};
  const auto start = reinterpret_cast<uintptr_t>(bytes.data());
  DwarfReader reader(bytes);
  EXPECT_EQ(reader.ReadPointer(0x1b), start - 4);                      // pc-relative, 4 bytes signed
  EXPECT_EQ(reader.ReadPointer(0x33, /*data_base=*/0x1000), 0x1010u);  // data-relative, 4 bytes unsigned
  EXPECT_EQ(reader.ReadPointer(0x02), 8u);                             // absolute, 2 bytes
  EXPECT_TRUE(reader.ok());
}

TEST(DwarfReaderTest, ANullPointerIsRelativeToNothing) {
  const Bytes bytes(4, 0);
  EXPECT_EQ(DwarfReader(bytes).ReadPointer(0x1b), 0u);
}

TEST(DwarfReaderTest, RefusesPointersItCannotFollow) {
  const Bytes bytes(16, 1);
  for (const int encoding :
       {0x9b /* indirect */, 0xff /* omitted */, 0x50 /* aligned */, 0x0d, 0x2b /* text-relative */}) {
    DwarfReader reader(bytes);
    EXPECT_EQ(reader.ReadPointer(static_cast<uint8_t>(encoding)), 0u) << encoding;
    EXPECT_FALSE(reader.ok()) << encoding;
  }
}

TEST(DwarfReaderTest, ReadsStringsAndRunsOfBytes) {
  const Bytes bytes = {'z', 'R', 0, 7, 8, 9};
  DwarfReader reader(bytes);
  EXPECT_EQ(reader.ReadCString(), "zR");
  EXPECT_EQ(reader.ReadBytes(2).back(), 8);
  EXPECT_TRUE(reader.ok());
  EXPECT_TRUE(reader.ReadBytes(2).empty());
  EXPECT_FALSE(reader.ok());
}

TEST(DwarfReaderTest, AStringWithoutItsEndFails) {
  const Bytes bytes = {'z', 'R'};
  DwarfReader reader(bytes);
  EXPECT_EQ(reader.ReadCString(), "");
  EXPECT_FALSE(reader.ok());
}

}  // namespace
}  // namespace fiberscope
