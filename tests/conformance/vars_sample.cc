// Prints the page of a registry of known variables; vars_twin.go does the same with Go's expvar.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "server/vars/var_registry.h"

using fiberscope::server::FloatVar;
using fiberscope::server::MapVar;
using fiberscope::server::VarRegistry;

int main() {
  VarRegistry registry;
  (*registry.NewInt("int"))->Add(-42);
  (*registry.NewString("string"))
      ->Set("a\"b\\c\n\r\t\b\f\x01\x7f<>&\xe2\x80\xa8\xe2\x80\xa9\xff\xc3\xa9\xf0\x9f\x98\x80/'");
  (void)registry.NewString("empty string");
  (void)registry.NewMap("empty map");
  constexpr double kFloats[] = {0,     1,     -1.5,  100000, 999999, 1e6,  1234567, 1e20,   1e21,
                                1e22,  0.001, 1e-4,  1e-5,   1e-7,   0.1, 1e100,   5e-324, 3.141592653589793};
  int number = 0;
  boost::json::array floats;
  for (const double each : kFloats) {
    const std::string name = "float " + std::to_string(number++);
    (*registry.NewFloat(name))->Set(each);
    floats.push_back(each);
  }
  MapVar* const map = *registry.NewMap("map");
  map->Add("b", 1);
  map->AddFloat("a", 2.5);
  map->Add("quote\"<", 3);
  auto inner = std::make_shared<MapVar>();
  inner->Add("x", 1);
  map->Set("inner", inner);
  (void)registry.PublishFunc("func", [&] {
    return boost::json::object{{"floats", floats}, {"list", {"x<", nullptr, true, 7}}, {"none", boost::json::array()}};
  });
  std::fputs(registry.Json().c_str(), stdout);
}
