// One of the equal parts that make a program large (BUILD.bazel): a class of the standard library's containers and lambdas, for
// three types. Optimised, it is some 0.3 % code; the rest is what a debugger would like to know of it.
#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace part_000 {

template <int kKind>
struct Order {
  int id = kKind;
  std::string name;
  bool operator<(const Order& other) const { return id < other.id; }
};

template <int kKind>
class OrderBook {
 public:
  void Add(const std::string& name, int count) {
    auto& orders = by_name_[name];
    for (int id = 0; id < count; ++id) orders.push_back(std::make_unique<Order<kKind>>(Order<kKind>{id, name}));
    std::sort(orders.begin(), orders.end(), [](const auto& a, const auto& b) { return *b < *a; });
    changed_([this] { return by_name_.size(); }());
  }

 private:
  std::map<std::string, std::vector<std::unique_ptr<Order<kKind>>>> by_name_;
  std::function<void(size_t)> changed_ = [](size_t count) {
    if (count > kKind) throw count;
  };
};

template <int... kKinds>
void AddToAll(const std::string& name, std::integer_sequence<int, kKinds...>) {
  (OrderBook<kKinds>().Add(name, kKinds), ...);
}

void Run(const std::string& name) { AddToAll(name, std::make_integer_sequence<int, 3>()); }

}  // namespace part_000
