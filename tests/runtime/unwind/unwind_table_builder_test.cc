#include "runtime/unwind/unwind_table_builder.h"

#include <gtest/gtest.h>

#include <cstring>
#include <optional>
#include <vector>

#include "tests/runtime/unwind/fake_object.h"

namespace fiberscope {
namespace {

using testing::FakeObject;
using Bytes = std::vector<uint8_t>;

// Assembles .eh_frame_hdr and .eh_frame. Functions are given by their offset from the start of the code segment, which
// lies FakeObject::kCodeBytes before the first byte.
class EhFrame {
 public:
  // Search table encoding: data-relative signed 4 bytes is what linkers write.
  explicit EhFrame(uint8_t table_encoding = 0x3b, size_t table_entries = 0) : table_encoding_(table_encoding) {
    bytes_ = {1, 0x1b, table_encoding == 0xff ? uint8_t{0xff} : uint8_t{0x03}, table_encoding};
    Append<int32_t>(0);  // where .eh_frame starts
    if (table_encoding != 0xff) Append<uint32_t>(table_entries);
    table_ = bytes_.size();
    bytes_.resize(table_ + table_entries * 2 * sizeof(int32_t));
    Patch<int32_t>(4, bytes_.size() - 4);
  }

  // "zR" with pc-relative signed 4-byte pointers; CFA = rsp + 8.
  EhFrame& AddCie() {
    const Bytes body = {1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b, 0x0c, 7, 8, 0x90, 1};
    cie_ = bytes_.size();
    Append<uint32_t>(4 + body.size());
    Append<uint32_t>(0);
    bytes_.insert(bytes_.end(), body.begin(), body.end());
    return *this;
  }

  EhFrame& AddFunction(uint32_t offset, uint32_t size, const Bytes& program = {}) {
    const size_t record = bytes_.size();
    Append<uint32_t>(4 + 8 + 1 + program.size());
    Append<uint32_t>(bytes_.size() - cie_);
    Append<int32_t>(static_cast<int32_t>(offset - FakeObject::kCodeBytes - bytes_.size()));
    Append<uint32_t>(size);
    bytes_.push_back(0);
    bytes_.insert(bytes_.end(), program.begin(), program.end());
    if (table_encoding_ == 0x3b) {
      Patch<int32_t>(table_, static_cast<int32_t>(offset - FakeObject::kCodeBytes));
      Patch<int32_t>(table_ + 4, record);
      table_ += 8;
    }
    return *this;
  }

  EhFrame& Terminate() {
    Append<uint32_t>(0);
    return *this;
  }

  Bytes& bytes() { return bytes_; }

 private:
  template <typename Integer>
  void Append(Integer value) {
    bytes_.resize(bytes_.size() + sizeof(value));
    Patch(bytes_.size() - sizeof(value), value);
  }
  template <typename Integer>
  void Patch(size_t at, Integer value) {
    std::memcpy(&bytes_[at], &value, sizeof(value));
  }

  uint8_t table_encoding_;
  size_t table_ = 0;
  size_t cie_ = 0;
  Bytes bytes_;
};

// The index of one object, with lookups by code offset.
class Built {
 public:
  explicit Built(FakeObject& object) : begin_(object.code_begin()) {
    builder_.AddObject(object.info());
    index_ = builder_.Finish();
  }

  const UnwindTableBuilder::Counts& counts() const { return builder_.counts(); }
  const RuleIndex& index() const { return *index_; }
  // The CFA's distance from rsp, or nothing where there is no rule.
  std::optional<int> SpOffset(intptr_t code_offset) const {
    const UnwindRule* rule = index_->Find(begin_ + code_offset);
    if (rule == nullptr) return std::nullopt;
    EXPECT_EQ(rule->cfa, UnwindRule::Cfa::kSpPlus);
    return rule->cfa_offset;
  }

 private:
  uintptr_t begin_;
  UnwindTableBuilder builder_;
  std::unique_ptr<const RuleIndex> index_;
};

constexpr auto kNone = std::nullopt;
const Bytes kPush = {0x41, 0x0e, 16};  // one byte further CFA = rsp + 16

EhFrame ThreeFunctions(uint8_t table_encoding) {
  EhFrame eh_frame(table_encoding, table_encoding == 0x3b ? 3 : 0);
  eh_frame.AddCie().AddFunction(0x100, 0x10, kPush).AddFunction(0x110, 0x10).AddFunction(0x1000, 0x2000, kPush);
  return eh_frame.Terminate();
}

class SearchTableTest : public ::testing::TestWithParam<uint8_t> {};

TEST_P(SearchTableTest, FindsFunctionsAndTheHolesBetweenThem) {
  FakeObject object(ThreeFunctions(GetParam()).bytes());
  const Built built(object);

  EXPECT_EQ(built.SpOffset(-1), kNone);
  EXPECT_EQ(built.SpOffset(0), kNone);
  EXPECT_EQ(built.SpOffset(0xff), kNone);
  EXPECT_EQ(built.SpOffset(0x100), 8);
  EXPECT_EQ(built.SpOffset(0x101), 16);
  EXPECT_EQ(built.SpOffset(0x10f), 16);
  EXPECT_EQ(built.SpOffset(0x110), 8);
  EXPECT_EQ(built.SpOffset(0x11f), 8);
  EXPECT_EQ(built.SpOffset(0x120), kNone);
  EXPECT_EQ(built.SpOffset(0xfff), kNone);
  EXPECT_EQ(built.SpOffset(0x1000), 8);
  EXPECT_EQ(built.SpOffset(0x2fff), 16);
  EXPECT_EQ(built.SpOffset(0x3000), kNone);
  EXPECT_EQ(built.SpOffset(object.code_end() - object.code_begin() - 1), kNone);
  EXPECT_EQ(built.SpOffset(object.code_end() - object.code_begin()), kNone);
  EXPECT_EQ(built.counts().functions, 3u);
  EXPECT_EQ(built.counts().refused, 0u);
}

// 0x3b is what linkers write; 0xff says that there is no table, so that .eh_frame is read from its start.
INSTANTIATE_TEST_SUITE_P(Encodings, SearchTableTest, ::testing::Values(0x3b, 0xff));

TEST(UnwindTableBuilderTest, EqualNeighboursAreOneRow) {
  EhFrame eh_frame(0xff);
  eh_frame.AddCie().AddFunction(0x100, 0x10).AddFunction(0x110, 0x10).AddFunction(0x120, 0x10).Terminate();
  FakeObject object(eh_frame.bytes());
  const Built built(object);
  EXPECT_EQ(built.index().row_offsets, (std::vector<uint32_t>{0, 0x100, 0x130}));
}

TEST(UnwindTableBuilderTest, FunctionsMayBeInAnyOrder) {
  EhFrame eh_frame(0xff);
  eh_frame.AddCie().AddFunction(0x800, 0x10, kPush).AddFunction(0x100, 0x10).Terminate();
  FakeObject object(eh_frame.bytes());
  const Built built(object);
  EXPECT_EQ(built.SpOffset(0x100), 8);
  EXPECT_EQ(built.SpOffset(0x808), 16);
}

TEST(UnwindTableBuilderTest, OfOverlappingFunctionsTheLaterOneCounts) {
  EhFrame eh_frame(0xff);
  eh_frame.AddCie().AddFunction(0x100, 0x100, kPush).AddFunction(0x140, 0x10).Terminate();
  FakeObject object(eh_frame.bytes());
  const Built built(object);
  EXPECT_EQ(built.SpOffset(0x13f), 16);
  EXPECT_EQ(built.SpOffset(0x140), 8);
  EXPECT_EQ(built.SpOffset(0x150), kNone);
}

TEST(UnwindTableBuilderTest, AMalformedFunctionHasNoRuleAndTheOthersHave) {
  EhFrame eh_frame(0xff);
  eh_frame.AddCie().AddFunction(0x100, 0x10, {0x3f}).AddFunction(0x110, 0x10).Terminate();
  FakeObject object(eh_frame.bytes());
  const Built built(object);
  EXPECT_EQ(built.SpOffset(0x100), kNone);
  EXPECT_EQ(built.SpOffset(0x110), 8);
  EXPECT_EQ(built.counts().functions, 1u);
  EXPECT_EQ(built.counts().refused, 1u);
}

TEST(UnwindTableBuilderTest, AFunctionBeyondTheCodeIsRefused) {
  EhFrame eh_frame(0xff);
  eh_frame.AddCie().AddFunction(0xff00, 0x10000).Terminate();
  FakeObject object(eh_frame.bytes());
  const Built built(object);
  EXPECT_EQ(built.SpOffset(0xff00), kNone);
  EXPECT_EQ(built.counts().refused, 1u);
}

TEST(UnwindTableBuilderTest, CodeOf4GiBIsRefused) {
  FakeObject object(ThreeFunctions(0x3b).bytes());
  object.code().p_memsz = uintptr_t{1} << 32;
  const Built built(object);
  EXPECT_EQ(built.SpOffset(0x100), kNone);
  EXPECT_EQ(built.counts().refused, 1u);
}

TEST(UnwindTableBuilderTest, ASegmentThatMayNotBeReadIsNotRead) {
  FakeObject object(ThreeFunctions(0x3b).bytes());
  object.readable().p_flags = PF_W;
  const Built built(object);
  EXPECT_EQ(built.counts().functions, 0u);
  EXPECT_EQ(built.counts().refused, 1u);
}

TEST(UnwindTableBuilderTest, AnObjectWithoutUnwindInformationIsCountedOnly) {
  dl_phdr_info object = {};
  UnwindTableBuilder builder;
  builder.AddObject(object);
  EXPECT_EQ(builder.counts().objects, 1u);
  EXPECT_EQ(builder.counts().refused, 0u);
  EXPECT_EQ(builder.Finish()->Find(0x1000), nullptr);
}

// Wherever the bytes end, the functions that are whole have their rules and nothing beyond the end is read (asan).
TEST(UnwindTableBuilderTest, SurvivesTruncationAtEveryByte) {
  for (const uint8_t encoding : {0x3b, 0xff}) {
    const Bytes whole = ThreeFunctions(encoding).bytes();
    size_t most_functions = 0;
    for (size_t size = 0; size <= whole.size(); ++size) {
      FakeObject object({whole.data(), size});
      const Built built(object);
      EXPECT_GE(built.counts().functions, most_functions);
      most_functions = built.counts().functions;
    }
    EXPECT_EQ(most_functions, 3u);
  }
}

TEST(UnwindTableBuilderTest, SurvivesEveryValueOfEveryByte) {
  for (const uint8_t encoding : {0x3b, 0xff}) {
    Bytes bytes = ThreeFunctions(encoding).bytes();
    for (uint8_t& byte : bytes) {
      const uint8_t original = byte;
      for (int value = 0; value < 256; ++value) {
        byte = static_cast<uint8_t>(value);
        FakeObject object(bytes);
        const Built built(object);
        EXPECT_LE(built.counts().functions, 4u);
      }
      byte = original;
    }
  }
}

}  // namespace
}  // namespace fiberscope
