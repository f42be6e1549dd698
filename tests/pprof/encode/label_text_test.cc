#include "pprof/encode/label_text.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace fiberscope::pprof {
namespace {

using LabelList = std::vector<Label>;

TEST(CountLabels, AreGoStringsInOrderOfTheQuotedPairs) {
  EXPECT_EQ(CountLabels(LabelList{{"k", "v"}}), R"({"k":"v"})");
  EXPECT_EQ(CountLabels(LabelList{{"a", ""}, {"b", "x y"}}), R"({"a":"", "b":"x y"})");
  // By key "a" goes before "a!"; quoted, the '!' of the second is compared with the closing quote of the first.
  EXPECT_EQ(CountLabels(LabelList{{"a", "1"}, {"a!", "2"}}), R"({"a!":"2", "a":"1"})");
  EXPECT_EQ(CountLabels(LabelList{{"\n", "\"}\n1 @ 0x1"}}), R"({"\n":"\"}\n1 @ 0x1"})");
}

TEST(DumpLabels, AreBareWherePossible) {
  EXPECT_EQ(DumpLabels({}, ""), "");
  EXPECT_EQ(DumpLabels(LabelList{{"k", "v"}, {"k2", "/a.b_c"}}, ""), "{k: v, k2: /a.b_c}");
  EXPECT_EQ(DumpLabels(LabelList{{"k", ""}, {"two words", "]:\n"}}, ""), R"({k: , "two words": "]:\n"})");
}

TEST(DumpLabels, NameIsALabelInItsPlaceUnlessThereIsOne) {
  EXPECT_EQ(DumpLabels({}, "worker"), "{name: worker}");
  EXPECT_EQ(DumpLabels(LabelList{{"a", "1"}, {"z", "2"}}, "w"), "{a: 1, name: w, z: 2}");
  EXPECT_EQ(DumpLabels(LabelList{{"a", "1"}}, "w"), "{a: 1, name: w}");
  EXPECT_EQ(DumpLabels(LabelList{{"z", "2"}}, "w"), "{name: w, z: 2}");
  EXPECT_EQ(DumpLabels(LabelList{{"name", "mine"}, {"z", "2"}}, "w"), "{name: mine, z: 2}");
  EXPECT_EQ(DumpLabels({}, "a\nb"), R"({name: "a\nb"})");
}

TEST(LabelText, LongTextsAndListsAreCut) {
  const std::string long_text(1000, 'x');
  const std::string cut = std::string(256, 'x') + "...";
  EXPECT_EQ(CountLabels(LabelList{{"k", long_text}}), "{\"k\":\"" + cut + "\"}");
  EXPECT_EQ(DumpLabels(LabelList{{"k", long_text}}, ""), "{k: " + cut + "}");

  // Whatever is in them, a line stays well below the 64 KiB at which Go's readers give up.
  LabelList hostile;
  for (int i = 0; i < 10'000; ++i) hostile.push_back({std::to_string(i) + std::string(1000, '\xff'), long_text});
  for (const std::string& text : {CountLabels(hostile), DumpLabels(hostile, long_text)}) {
    EXPECT_LT(text.size(), 17u * 1024);
    EXPECT_TRUE(text.ends_with(", ...}"));
  }
}

}  // namespace
}  // namespace fiberscope::pprof
