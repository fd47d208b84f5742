// How many independent values a correlated series is worth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace llmbench {

// The integrated autocorrelation time τ = 1 + 2 Σ ρ(k) of a series in its order: n values tell as much about
// their mean as n / τ independent ones. The sum runs as long as ρ(2m) + ρ(2m + 1) is positive, which it is
// for every reversible Markov chain (Geyer 1992, initial positive sequence). Between 1 and n: a series that
// alternates is not taken for more than it has values. 1 for a constant or empty one. Values are finite.
double AutocorrelationTime(std::span<const double> series);

// Σ x(i) x(i + k) for each lag k below `lags`, by FFT: n log(lags) operations, and memory for the lags alone.
std::vector<double> LaggedProducts(std::span<const double> series, size_t lags);

// How often the series rises above a level: marked values at most `apart` places from the one before belong
// to the same excursion.
uint64_t CountExcursions(std::span<const bool> above, double apart);

}  // namespace llmbench
