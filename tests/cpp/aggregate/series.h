// Series whose mean and percentiles are known, for tests of intervals.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace llmbench {

// exp(spread · x) for a Gaussian x whose neighbours have correlation `rho`; 0: independent.
inline std::vector<double> Lognormal(size_t n, double rho, double spread, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<double> values;
  double x = normal(random);
  for (size_t i = 0; i < n; ++i) {
    values.push_back(std::exp(spread * x));
    x = rho * x + std::sqrt(1 - rho * rho) * normal(random);
  }
  return values;
}

inline constexpr double kPacedSpread = 0.001;
// A server that keeps its pace of 1 to a thousandth, in which neighbours hang together; but for stalls, in
// which it takes twice as long. Both last so many requests on average; without stalls when `stalled` is 0.
inline std::vector<double> Paced(size_t n, double running, double stalled, std::mt19937_64& random) {
  std::vector<double> values = Lognormal(n, 0.98, kPacedSpread, random);
  std::uniform_real_distribution<double> uniform;
  bool stalls = uniform(random) * (running + stalled) < stalled;
  for (double& value : values) {
    if (stalls) value *= 2;
    if (stalled > 0 && uniform(random) * (stalls ? stalled : running) < 1) stalls = !stalls;
  }
  return values;
}

// Poisson arrivals at rate 1 and one server, in equilibrium: sojourn times are exponential with mean
// 1 / (1 / utilisation − 1).
struct Queue {
  std::vector<double> sojourns, departures;
};
inline Queue SingleServer(size_t n, double utilisation, std::mt19937_64& random) {
  std::exponential_distribution<double> exponential;
  Queue queue;
  double arrival = 0, sojourn = exponential(random) / (1 / utilisation - 1);
  for (size_t i = 0; i < n; ++i) {
    const double gap = exponential(random);
    arrival += gap;
    sojourn = std::max(0.0, sojourn - gap) + exponential(random) * utilisation;
    queue.sojourns.push_back(sojourn);
    queue.departures.push_back(arrival + sojourn);
  }
  return queue;
}

}  // namespace llmbench
