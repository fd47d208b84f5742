// Which of several things carries the least, found in a time that does not grow with their number.
//
// Loads are small whole numbers: things of the same load lie in one list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace llmbench {

class LoadOrder {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // Puts `thing` in, or moves it to another load.
  void Set(uint32_t thing, size_t load) {
    if (thing >= places_.size()) places_.resize(size_t{thing} + 1);
    if (places_[thing].in && places_[thing].load == load) return;
    Remove(thing);
    if (load >= things_.size()) things_.resize(load + 1);
    places_[thing] = {.load = load, .index = things_[load].size(), .in = true};
    things_[load].push_back(thing);
    if (load < least_) least_ = load;
  }

  void Remove(uint32_t thing) {
    if (thing >= places_.size() || !places_[thing].in) return;
    const Place place = places_[thing];
    std::vector<uint32_t>& list = things_[place.load];
    list[place.index] = list.back();
    places_[list[place.index]].index = place.index;
    list.pop_back();
    places_[thing].in = false;
  }

  // The one with the least load, kNone when there is none. Which of several is not said.
  uint32_t Least() {
    while (least_ < things_.size() && things_[least_].empty()) ++least_;
    return least_ < things_.size() ? things_[least_].back() : kNone;
  }

 private:
  struct Place {
    size_t load = 0;
    size_t index = 0;  // in its list
    bool in = false;
  };
  std::vector<Place> places_;                  // by thing
  std::vector<std::vector<uint32_t>> things_;  // by load
  size_t least_ = 0;                           // no list before this one has any
};

}  // namespace llmbench
