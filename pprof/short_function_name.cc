// The short form of a demangled name.
//
// A demangled function is [return type] name [(parameters) [qualifiers]] [" [clone ...]"], where `name` is a list of
// components joined by "::", and any component may be a function itself, with parameters and qualifiers, if what
// follows is local to it:
//
//     void ns::Outer<int>::f<char>(char)::{lambda(auto:1)#2}::operator()<long>(long) const [clone .cold]
//     ^^^^ ^^           ^         ^^^^^^                                      ^
//     dropped           <...>     dropped
//
// One scan from left to right copies the name and steps over balanced brackets. A blank outside brackets ends a word
// that was only the return type (or "virtual thunk to"), so what has been copied is forgotten. The hard cases are
// operators, which contain brackets and blanks, and return types that wrap around the name: "void
// (*f<int>(int))(char)".
#include <algorithm>
#include <cctype>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "pprof/symbolizer.h"

namespace fiberscope::pprof {
namespace {

constexpr std::string_view kAnonymousNamespace = "(anonymous namespace)";
constexpr std::string_view kAnonymous = "(anonymous)";
constexpr std::string_view kOperator = "operator";

// Longest first where one begins with another.
constexpr std::string_view kOperatorSymbols[] = {
    "()", "[]", "<=>", "<<=", ">>=", "->*", "->", "<<", ">>", "<=", ">=", "==", "!=",
    "&&", "||", "++",  "--",  "+=",  "-=",  "*=", "/=", "%=", "&=", "|=", "^=", "<",
    ">",  "+",  "-",   "*",   "/",   "%",   "&",  "|",  "^",  "~",  "!",  "=",  ",",
};

bool IsWordCharacter(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '$'; }

// True when `text` goes on with an operator's name: "operator" as a whole word.
bool StartsWithOperator(std::string_view text) {
  return text.starts_with(kOperator) && text.size() > kOperator.size() && !IsWordCharacter(text[kOperator.size()]);
}

// Of the operator symbol that `text` begins with; 0 when there is none.
size_t OperatorSymbolLength(std::string_view text) {
  for (const std::string_view symbol : kOperatorSymbols) {
    if (text.starts_with(symbol)) return symbol.size();
  }
  return 0;
}

// Length of the bracketed text that `text` begins with, brackets included; all of it when the bracket is never closed.
// "<" and ">" count as brackets only where they pair up inside the innermost round, square or curly bracket: the
// demangler prints "(4ul)>(3ul)" and "(a)->b" within further round ones. It does not do so for "<".
size_t BracketLength(std::string_view text) {
  std::vector<char> open;
  size_t operator_end = 0;  // where the last operator's name ended
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '(':
      case '[':
      case '{':
        open.push_back(text[i]);
        break;
      case '<':
        if (i > 0 && text[i - 1] == ')' && i != operator_end) {
          i += OperatorSymbolLength(text.substr(i)) - 1;  // of an expression: "(4ul)<<(1)"
        } else {
          open.push_back('<');
        }
        break;
      case '>':
        if (open.back() == '<') open.pop_back();
        break;
      case ')':
      case ']':
      case '}': {
        const char opening = text[i] == ')' ? '(' : text[i] == ']' ? '[' : '{';
        const auto match = std::find(open.rbegin(), open.rend(), opening);
        if (match != open.rend()) open.erase(std::prev(match.base()), open.end());
        break;
      }
      case 'o':  // "f<&C::operator-> >"
        if (!IsWordCharacter(text[i - 1]) && StartsWithOperator(text.substr(i))) {
          i += kOperator.size();
          i += OperatorSymbolLength(text.substr(i));
          operator_end = i--;
        }
        break;
      default:
        break;
    }
    if (open.empty()) return i + 1;
  }
  return text.size();
}

class NameShortener {
 public:
  explicit NameShortener(std::string_view demangled) : rest_(demangled) {}

  std::string Run() {
    while (!rest_.empty()) Step();
    return std::move(name_);
  }

 private:
  void Step() {
    const char c = rest_.front();
    if (c == '<') {
      Skip(BracketLength(rest_));
      name_ += "<...>";
    } else if (c == '(') {
      StepRoundBracket();
    } else if (c == '{') {
      StepCompilerMadeEntity();
    } else if (c == '[') {
      Skip(BracketLength(rest_));  // an ABI tag
    } else if (c == ')') {
      rest_ = {};  // no demangler's work
    } else if (c == ' ') {
      StepBlank();
    } else if (AtOperator()) {
      StepOperator();
    } else {
      name_ += c;
      Skip(1);
    }
  }

  bool AtComponentStart() const { return name_.empty() || name_.ends_with("::"); }

  bool AtOperator() const { return AtComponentStart() && StartsWithOperator(rest_); }

  void Skip(size_t count) { rest_.remove_prefix(std::min(count, rest_.size())); }

  bool SkipIf(std::string_view text) {
    if (!rest_.starts_with(text)) return false;
    Skip(text.size());
    return true;
  }

  void StepRoundBracket() {
    if (AtComponentStart() && SkipIf(kAnonymousNamespace)) {
      name_ += kAnonymous;
      return;
    }
    const size_t length = BracketLength(rest_);
    if (name_ == "decltype") {
      Skip(length);
      name_ += "()";  // an ordinary type from here on
    } else if (name_.empty()) {
      // The return type goes on behind the name, "(*f<int>(int))(char)": go on inside.
      rest_ = WithoutPointers(rest_.substr(1, std::max<size_t>(length, 2) - 2));
    } else {
      Skip(length);
      while (SkipIf(" const") || SkipIf(" volatile") || SkipIf(" &&") || SkipIf(" &") || SkipIf(" noexcept")) {
      }
      // Nothing but a local entity of the function can follow its parameters.
      if (!rest_.starts_with("::")) rest_ = {};
    }
  }

  // "{lambda(int)#1}" -> "{lambda#1}", "{unnamed type#1}" as it is.
  void StepCompilerMadeEntity() {
    const std::string_view entity = rest_.substr(0, BracketLength(rest_));
    name_ += entity.substr(0, entity.find_first_of("(<#}"));
    const size_t number = entity.rfind('#');
    name_ += number == std::string_view::npos ? "}" : entity.substr(number);
    Skip(entity.size());
  }

  void StepBlank() {
    if (rest_.starts_with(" [clone ")) {
      rest_ = {};
      return;
    }
    Skip(1);
    if (name_ == "decltype" && rest_.starts_with('(')) return;
    name_.clear();
  }

  void StepOperator() {
    name_ += kOperator;
    Skip(kOperator.size());
    for (const std::string_view allocation : {" new[]", " new", " delete[]", " delete"}) {
      if (rest_ == allocation || rest_.starts_with(std::string(allocation) + '(')) {
        name_ += allocation;
        Skip(allocation.size());
        return;
      }
    }
    if (const size_t length = OperatorSymbolLength(rest_)) {
      name_ += rest_.substr(0, length);
      Skip(length);
      if (rest_.starts_with(" <")) Skip(1);  // so printed lest "operator< <int>" become "operator<<int>"
      return;
    }
    if (SkipIf("\"\" ")) {
      name_ += "\"\"";  // a literal's; its name follows
      return;
    }
    StepConversionType();
  }

  // " std::vector<int> const*" of a conversion operator: a type, up to the parameter list, which is empty.
  void StepConversionType() {
    while (!rest_.empty() && !rest_.starts_with("()") && !rest_.starts_with(" [clone ")) {
      const char c = rest_.front();
      if (SkipIf(kAnonymousNamespace)) {
        name_ += kAnonymous;
      } else if (c == '<' || c == '(' || c == '[' || c == '{') {
        Skip(BracketLength(rest_));
        if (c == '<') name_ += "<...>";
        if (c == '(') name_ += "(...)";  // of a pointer to function
      } else {
        name_ += c;
        Skip(1);
      }
    }
  }

  // "*f" -> "f", "&f" -> "f", "Class::*f" -> "f".
  static std::string_view WithoutPointers(std::string_view declarator) {
    const size_t member = declarator.find("::*");
    if (!declarator.starts_with('*') && !declarator.starts_with('&') && member != std::string_view::npos) {
      declarator.remove_prefix(member + 2);
    }
    declarator.remove_prefix(std::min(declarator.find_first_not_of("*& "), declarator.size()));
    return declarator;
  }

  std::string_view rest_;
  std::string name_;
};

// What the readers of Go's text forms cannot take, and what could forge a line.
std::string Printable(std::string_view name) {
  std::string result;
  result.reserve(name.size());
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '/') {
      result += "%2F";
    } else if (c == '%') {
      result += "%25";
    } else {
      result += byte <= ' ' || byte == 0x7f ? '_' : c;
    }
  }
  return result;
}

}  // namespace

std::string ShortFunctionName(const std::string& demangled) {
  // Functions of the compiler's, not to be taken for the variable they serve.
  for (const std::string_view prefix : {"TLS init function for ", "TLS wrapper function for "}) {
    if (demangled.starts_with(prefix)) {
      return Printable(std::string(prefix) + NameShortener(std::string_view(demangled).substr(prefix.size())).Run());
    }
  }
  std::string name = NameShortener(demangled).Run();
  if (name.empty()) {
    // Not the name of a function; keep what can be kept.
    std::remove_copy_if(demangled.begin(), demangled.end(), std::back_inserter(name),
                        [](char c) { return c == '(' || c == ')'; });
    if (name.empty() && !demangled.empty()) name = "?";
  }
  return Printable(name);
}

}  // namespace fiberscope::pprof
