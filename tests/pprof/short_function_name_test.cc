// Each row is a mangled name as g++ 12 or clang 14 makes it; the expectation is for what the demangler prints of it.
#include <cxxabi.h>
#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pprof/elf_image.h"
#include "pprof/file_view.h"
#include "pprof/symbolizer.h"

namespace fiberscope::pprof {
namespace {

std::string Demangle(const std::string& mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
  return text == nullptr ? "" : text.get();
}

struct NameCase {
  std::string mangled;
  std::string expected;
};

const NameCase kNames[] = {
    // Plain functions and members.
    {"_ZN2V11vEv", "V1::v"},
    {"_ZNK1C1mEi", "C::m"},
    {"_ZNVKR1C1qEv", "C::q"},
    {"_ZNO1C1rEv", "C::r"},
    {"_ZN1CC2ENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE", "C::C"},
    {"_ZN2V1D0Ev", "V1::~V1"},
    {"_ZSt24__throw_out_of_range_fmtPKcz", "std::__throw_out_of_range_fmt"},
    // Templates.
    {"_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<...>::push_back"},
    {"_ZN5boost4asio10io_context19basic_executor_typeISaIvELm0EED5Ev",
     "boost::asio::io_context::basic_executor_type<...>::~basic_executor_type"},
    {"_ZN5boost15throw_exceptionINS_6system12system_errorEEEvRKT_RKNS_15source_locationE",
     "boost::throw_exception<...>"},
    {"_ZN2v11WIiEaSIiEERS1_T_", "v1::W<...>::operator=<...>"},
    {"_Z3varIJEEvDpT_", "var<...>"},
    {"_Z2ntIXadL_Z4fstrB5cxx11iEEEvv", "nt<...>"},
    {"_Z2ntIXadL_ZN1CptEvEEEvv", "nt<...>"},
    {"_Z4callIPFviEEvT_", "call<...>"},
    {"_ZN4absl7debian313base_internal12CallOnceImplIZNS1_8SpinLock8SpinLoopEvEUlvE_JEEEvPSt6atomicIjENS1_14"
     "SchedulingModeEOT_DpOT0_.constprop.0",
     "absl::debian3::base_internal::CallOnceImpl<...>"},
    // Return types, also those that wrap around the name.
    {"_Z2daIiEDcT_", "da<...>"},
    {"_Z3addIilEDTplfp_fp0_ET_T0_", "add<...>"},
    {"_Z4big2IiENSt9enable_ifIXgtstT_Li3EEiE4typeES1_", "big2<...>"},
    {"_Z4big3IiE1IIXqugtstT_Li3ELi1ELi0EEES1_", "big3<...>"},
    {"_Z4big4IiE1IIXlsstT_Li1EEES1_", "big4<...>"},
    {"_Z6ret_fnIiEPFvcET_", "ret_fn<...>"},
    {"_Z7ret_arrIiERA3_iT_", "ret_arr<...>"},
    {"_ZN1C2rmIiEEMS_KFiiET_", "C::rm<...>"},
    {"_ZStplIcSt11char_traitsIcESaIcEENSt7__cxx1112basic_stringIT_T0_T1_EEOS8_S9_", "std::operator+<...>"},
    // Anonymous namespaces.
    {"_ZN12_GLOBAL__N_13fooEv", "(anonymous)::foo"},
    {"_ZN12_GLOBAL__N_12in1Z4makeIiEES1_T_", "(anonymous)::in::Z::make<...>"},
    {"_ZN4absl12_GLOBAL__N_112ParseYearAndIiEEbT_", "absl::(anonymous)::ParseYearAnd<...>"},
    {"_ZNK12_GLOBAL__N_12in4ConvcvNS0_1ZEEv", "(anonymous)::in::Conv::operator_(anonymous)::in::Z"},
    // Lambdas and other entities without a name, and what is local to a function.
    {"_ZZ4mainENKUliE1_clEi", "main::{lambda#3}::operator()"},
    {"_ZZ4mainENUliE1_4_FUNEi", "main::{lambda#3}::_FUN"},
    {"_ZZ4mainENK3$_0clEv", "main::$_0::operator()"},
    {"_ZZNK1M4membESt6vectorIiSaIiEEiENUlT_E_clIiEEDaS3_", "M::memb::{lambda#1}::operator()<...>"},
    {"_ZZZNK1M4membESt6vectorIiSaIiEEiENUlT_E_clIiEEDaS3_ENKUliE_clEi",
     "M::memb::{lambda#1}::operator()<...>::{lambda#1}::operator()"},
    {"_ZN1UUt_1gEv", "U::{unnamed_type#1}::g"},
    {"_ZZ4mainEN5Local2stEv", "main::Local::st"},
    {"_ZZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE12_M_constructIPKcEEvT_S8_St20forward_iterator_tagEN6_"
     "GuardD1Ev",
     "std::__cxx11::basic_string<...>::_M_construct<...>::_Guard::~_Guard"},
    // Operators.
    {"_ZNK1CclESt8functionIFviEE", "C::operator()"},
    {"_ZN2AwixEi", "Aw::operator[]"},
    {"_ZNK1CltES_", "C::operator<"},
    {"_ZNK1CltIiEEbT_", "C::operator<<...>"},
    {"_ZN1ClsIiEES_T_", "C::operator<<<...>"},
    {"_ZNK1CssERKS_", "C::operator<=>"},
    {"_ZN1CptEv", "C::operator->"},
    {"_ZN1CpmEi", "C::operator->*"},
    {"_ZN1CcmEi", "C::operator,"},
    {"_ZNK1CdvES_", "C::operator%2F"},
    {"_ZNK1CrmES_", "C::operator%25"},
    {"_ZN2v1eqERKNS_1WIiEES3_", "v1::operator=="},
    {"_Znwm", "operator_new"},
    {"_ZnwmSt11align_val_t", "operator_new"},
    {"_ZN1CnaEm", "C::operator_new[]"},
    {"_ZdlPvm", "operator_delete"},
    {"_ZdaPv", "operator_delete[]"},
    {"_ZN2AwawEv", "Aw::operator_co_await"},
    {"_ZNK1CcvbEv", "C::operator_bool"},
    {"_ZNK1CcvmEv", "C::operator_unsigned_long"},
    {"_ZNK1CcvPKcEv", "C::operator_char_const*"},
    {"_ZNK1CcvSt6vectorIiSaIiEEEv", "C::operator_std::vector<...>"},
    {"_ZNK1CcvPT_IiEEv", "C::operator_int*<...>"},
    {"_ZNK1CcvPFviEEv", "C::operator_void_(...)(...)"},
    {"_Zli3_kme", "operator\"\"_km"},
    {"_ZN3litli3_chIJLc97EEEEiv", "lit::operator\"\"_ch<...>"},
    // ABI tags, clones, thunks, functions of the compiler's.
    {"_Z4fstrB5cxx11i", "fstr"},
    {"_Z6taggedB2v2i", "tagged"},
    {"_ZN4absl18CurrentStackStringEPcib.constprop.0", "absl::CurrentStackString"},
    {"_Z3fooi.isra.0.cold", "foo"},
    {"_ZN12_GLOBAL__N_13fooEv.cold", "(anonymous)::foo"},
    {"_ZThn8_N3D122b2Ev", "D12::b2"},
    {"_ZTv0_n24_N2V2D1Ev", "V2::~V2"},
    {"_ZTH5tls_xB5cxx11", "TLS_init_function_for_tls_x"},
    {"_ZTW5tls_xB5cxx11", "TLS_wrapper_function_for_tls_x"},
};

TEST(ShortFunctionNameTest, KeepsTheNameAndNothingElse) {
  for (const NameCase& row : kNames) {
    const std::string demangled = Demangle(row.mangled);
    ASSERT_NE(demangled, "") << row.mangled;
    EXPECT_EQ(ShortFunctionName(demangled), row.expected) << demangled;
  }
}

TEST(ShortFunctionNameTest, LeavesOtherLanguagesAlone) {
  for (const std::string name :
       {"main", "_start", "qsort_r", "foo.cold", "_ZN3bad", "operators", "my_operator", "$x"}) {
    EXPECT_EQ(ShortFunctionName(name), name);
  }
  EXPECT_EQ(ShortFunctionName(""), "");
}

TEST(ShortFunctionNameTest, DwarfsPlainNamesAreShortenedToo) {
  EXPECT_EQ(ShortFunctionName("here<int>"), "here<...>");
  EXPECT_EQ(ShortFunctionName("operator()"), "operator()");
  EXPECT_EQ(ShortFunctionName("operator bool"), "operator_bool");
  EXPECT_EQ(ShortFunctionName("operator new"), "operator_new");
  EXPECT_EQ(ShortFunctionName("<lambda(int)>"), "<...>");
}

// What gostackparse and panicparse ask of a name, see the header.
void ExpectParsable(const std::string& name, const std::string& from) {
  EXPECT_NE(name, "") << from;
  const bool is_printable =
      std::none_of(name.begin(), name.end(), [](unsigned char c) { return c <= ' ' || c == 127; });
  EXPECT_TRUE(is_printable) << name << "\nfrom " << from;
  EXPECT_EQ(name.find('/'), std::string::npos) << name << "\nfrom " << from;
  int depth = 0;
  for (const char c : name) {
    depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    EXPECT_TRUE(depth == 0 || depth == 1) << name << "\nfrom " << from;
  }
  EXPECT_EQ(depth, 0) << name << "\nfrom " << from;
}

TEST(ShortFunctionNameTest, TextThatIsNoNameStaysOnOneLine) {
  const std::string hostile[] = {
      "",
      "(",
      ")",
      "()",
      "((((",
      "a(b",
      "a)b",
      "<",
      ">",
      "a<b(c",
      "\n\t",
      "f\ngoroutine",
      "{",
      "{lambda",
      "{#",
      "[",
      "(*",
      "(*)",
      "x (*)(",
      "operator",
      "operator(",
      "operator ",
      "C::operator <",
      " ",
      "   ",
      "::",
      "decltype (",
      "decltype",
      "decltype(x",
      "f<operator",
      "(anonymous namespace)",
      "(anonymous namespace",
      "operator (((",
      "operator x(()",
      "a b(c d) e f",
  };
  for (const std::string& text : hostile) {
    if (!text.empty()) ExpectParsable(ShortFunctionName(text), text);
  }
  // Every cut of a real name.
  const std::string name = Demangle("_ZZZNK1M4membESt6vectorIiSaIiEEiENUlT_E_clIiEEDaS3_ENKUliE_clEi");
  for (size_t length = 1; length < name.size(); ++length) {
    ExpectParsable(ShortFunctionName(name.substr(0, length)), name.substr(0, length));
    ExpectParsable(ShortFunctionName(name.substr(length)), name.substr(length));
  }
}

TEST(ShortFunctionNameTest, EveryFunctionOfTheStandardLibraryIsParsable) {
  Dl_info info;
  ASSERT_NE(dladdr(reinterpret_cast<void*>(&std::terminate), &info), 0);
  const std::optional<FileView> file = FileView::Open(info.dli_fname);
  ASSERT_TRUE(file);
  const std::optional<ElfImage> image = ElfImage::Parse(file->bytes());
  ASSERT_TRUE(image);
  const Elf64_Shdr* symbols = image->FindSection(".dynsym");
  const Elf64_Shdr* names = image->FindSection(".dynstr");
  ASSERT_NE(symbols, nullptr);
  ASSERT_NE(names, nullptr);
  int checked = 0;
  for (size_t i = 0; i < symbols->sh_size / sizeof(Elf64_Sym); ++i) {
    const auto symbol = ElementAt<Elf64_Sym>(image->Contents(*symbols), i);
    const std::string name(StringAt(image->Contents(*names), symbol.st_name));
    if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || !name.starts_with("_Z")) continue;
    const std::string demangled = Demangle(name);
    if (demangled.empty()) continue;
    ExpectParsable(ShortFunctionName(demangled), demangled);
    ++checked;
  }
  EXPECT_GT(checked, 1000);
}

}  // namespace
}  // namespace fiberscope::pprof
