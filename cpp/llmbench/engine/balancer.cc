#include "llmbench/engine/balancer.h"

namespace llmbench {

Balancer::Balancer(Balancing balancing, int endpoints, uint64_t seed, int64_t give_up_after)
    : balancing_(balancing),
      endpoints_(endpoints),
      give_up_after_(give_up_after),
      rng_(seed, ChanceStream::kWhere),
      states_(static_cast<size_t>(endpoints)) {}

int32_t Balancer::Preferred(const PlannedRequest& request) const {
  // Warm-up requests count down from -1.
  const auto number = static_cast<uint64_t>(request.id >= 0 ? request.id : -1 - request.id);
  const auto endpoints = static_cast<uint64_t>(endpoints_);
  switch (balancing_) {
    case Balancing::kRandom:
      return static_cast<int32_t>(rng_.Below(static_cast<uint64_t>(request.id), endpoints));
    case Balancing::kSticky:
      return (request.slot >= 0 ? request.slot : request.workload) % endpoints_;
    case Balancing::kRoundRobin:
    case Balancing::kLeastInFlight:
      break;
  }
  return static_cast<int32_t>(number % endpoints);
}

int32_t Balancer::LeastInFlight(int32_t first) const {
  int32_t best = first;
  int64_t least = INT64_MAX;
  for (int32_t i = 0; i < endpoints_; ++i) {
    const int32_t endpoint = (first + i) % endpoints_;
    const State& state = states_[static_cast<size_t>(endpoint)];
    if (state.given_up.load(std::memory_order_relaxed)) continue;
    if (const int64_t in_flight = state.in_flight.load(std::memory_order_relaxed); in_flight < least) {
      least = in_flight;
      best = endpoint;
    }
  }
  return best;
}

int32_t Balancer::Choose(const PlannedRequest& request) {
  int32_t endpoint = Preferred(request);
  if (balancing_ == Balancing::kLeastInFlight) {
    endpoint = LeastInFlight(endpoint);
    states_[static_cast<size_t>(endpoint)].in_flight.fetch_add(1, std::memory_order_relaxed);
  } else if (balancing_ == Balancing::kSticky && given_up(endpoint) &&
             given_up_.load(std::memory_order_relaxed) < endpoints_) {
    do {
      endpoint = (endpoint + 1) % endpoints_;
    } while (given_up(endpoint) && given_up_.load(std::memory_order_relaxed) < endpoints_);
  }
  return endpoint;
}

void Balancer::Ended(const PlannedRequest& request) {
  if (balancing_ != Balancing::kLeastInFlight) return;
  states_[static_cast<size_t>(request.endpoint)].in_flight.fetch_sub(1, std::memory_order_relaxed);
}

int32_t Balancer::ChooseWarm(const PlannedRequest& request, int64_t turn) const {
  if (balancing_ == Balancing::kLeastInFlight) return static_cast<int32_t>(turn % endpoints_);
  return Preferred(request);
}

bool Balancer::Note(const PlannedRequest& request, Outcome outcome) {
  State& state = states_[static_cast<size_t>(request.endpoint)];
  if (outcome == Outcome::kOk) {
    if (!state.any_ok.load(std::memory_order_relaxed)) state.any_ok.store(true, std::memory_order_relaxed);
    return false;
  }
  if (!IsFailure(outcome) || give_up_after_ <= 0 || state.any_ok.load(std::memory_order_relaxed))
    return false;
  if (state.failures.fetch_add(1, std::memory_order_relaxed) + 1 != give_up_after_) return false;
  state.given_up.store(true, std::memory_order_relaxed);
  return given_up_.fetch_add(1, std::memory_order_relaxed) + 1 == endpoints_;
}

}  // namespace llmbench
