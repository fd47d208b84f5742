#include "llmbench/sim/hardware.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>

#include "llmbench/sim/options.h"

namespace llmbench::sim {
namespace {

std::string Lower(const std::string& text) {
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

// "meta-llama/Meta-Llama-3.1-8B-Instruct" -> "llama-3.1-8b-instruct"
std::string Stem(const std::string& name) {
  std::string stem = Lower(name.substr(name.find_last_of('/') + 1));
  if (stem.rfind("meta-", 0) == 0) stem.erase(0, 5);
  return stem;
}

bool Contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

// Bits per weight that a name like "…-AWQ" tells, 0 when it tells none.
double BitsInName(const std::string& stem) {
  for (const char* part : {"awq", "gptq", "int4", "w4a16", "nvfp4", "mxfp4", "bnb-4bit"}) {
    if (Contains(stem, part)) return 4.25;
  }
  for (const char* part : {"fp8", "int8", "w8a8"}) {
    if (Contains(stem, part)) return 8;
  }
  return 0;
}

// The billions in "llama-13b" or "8x7b-moe", 0 when there are none.
double SizeInName(const std::string& stem) {
  for (size_t at = 0; at < stem.size(); ++at) {
    if (std::isdigit(static_cast<unsigned char>(stem[at])) == 0) continue;
    if (at > 0 && (std::isalnum(static_cast<unsigned char>(stem[at - 1])) != 0 || stem[at - 1] == '.'))
      continue;
    const char* begin = stem.c_str() + at;
    char* end;
    double size = std::strtod(begin, &end);
    if (*end == 'x') {
      const char* second = end + 1;
      const double each = std::strtod(second, &end);
      if (end == second) continue;
      size *= each;
    }
    const bool ends = std::isalnum(static_cast<unsigned char>(end[0] == '\0' ? '\0' : end[1])) == 0;
    if (*end == 'b' && ends && size > 0) return size;
  }
  return 0;
}

// A dense model of Llama's proportions: 12 · layers · hidden² weights, 128 of hidden size per layer,
// grouped-query attention.
ModelSpec DenseModel(const std::string& stem, double parameters_b) {
  const double hidden = std::cbrt(parameters_b * 1e9 * 128 / 12);
  const int rounded = std::max(128, static_cast<int>(std::lround(hidden / 128)) * 128);
  return {stem, parameters_b, parameters_b, std::max(1, rounded / 128), rounded, std::max(64, rounded / 4),
          32768};
}

std::string Squeezed(const std::string& name) {
  std::string squeezed;
  for (const char c : Lower(name)) {
    if (c != '-' && c != '_' && c != ' ') squeezed += c;
  }
  if (squeezed.rfind("nvidia", 0) == 0) squeezed.erase(0, 6);
  if (squeezed.size() > 2 && squeezed.compare(squeezed.size() - 2, 2, "gb") == 0) squeezed.pop_back();
  return squeezed;
}

template <typename Spec>
std::vector<std::string> NamesOf(const std::vector<Spec>& specs) {
  std::vector<std::string> names;
  for (const Spec& spec : specs) names.push_back(spec.name);
  return names;
}

std::string Hint(const std::string& nearest) {
  return nearest.empty() ? std::string() : " Did you mean '" + nearest + "'?";
}

}  // namespace

// Weights, shapes and context lengths from each model's published configuration. The KV size of a model with
// multi-head latent attention is its latent size in the same terms.
const std::vector<ModelSpec>& ModelPresets() {
  static const auto* presets = new std::vector<ModelSpec>{
      // clang-format off
      // name              total active layers hidden KV dim context bits, experts, used per token
      {"llama-2-7b",          6.74,   6.74,  32,  4096, 4096,    4096},
      {"llama-2-13b",        13.02,  13.02,  40,  5120, 5120,    4096},
      {"llama-13b",          13.02,  13.02,  40,  5120, 5120,    4096},
      {"llama-2-70b",        68.98,  68.98,  80,  8192, 1024,    4096},
      {"llama-3-8b",          8.03,   8.03,  32,  4096, 1024,    8192},
      {"llama-3-70b",        70.55,  70.55,  80,  8192, 1024,    8192},
      {"llama-3.1-8b",        8.03,   8.03,  32,  4096, 1024,  131072},
      {"llama-3.1-70b",      70.55,  70.55,  80,  8192, 1024,  131072},
      {"llama-3.1-405b",    405.85, 405.85, 126, 16384, 1024,  131072},
      {"llama-3.2-1b",        1.24,   1.24,  16,  2048,  512,  131072},
      {"llama-3.2-3b",        3.21,   3.21,  28,  3072, 1024,  131072},
      {"llama-3.3-70b",      70.55,  70.55,  80,  8192, 1024,  131072},
      {"mistral-7b",          7.25,   7.25,  32,  4096, 1024,   32768},
      {"mistral-small-24b",  23.57,  23.57,  40,  5120, 1024,   32768},
      {"mixtral-8x7b",       46.70,  12.88,  32,  4096, 1024,  32768,  16,   8, 2},
      {"mixtral-8x22b",     140.62,  39.15,  56,  6144, 1024,  65536,  16,   8, 2},
      {"qwen2.5-0.5b",        0.49,   0.49,  24,   896,  128,   32768},
      {"qwen2.5-1.5b",        1.54,   1.54,  28,  1536,  256,   32768},
      {"qwen2.5-7b",          7.62,   7.62,  28,  3584,  512,   32768},
      {"qwen2.5-14b",        14.77,  14.77,  48,  5120, 1024,   32768},
      {"qwen2.5-32b",        32.76,  32.76,  64,  5120, 1024,   32768},
      {"qwen2.5-72b",        72.71,  72.71,  80,  8192, 1024,   32768},
      {"qwen3-8b",            8.19,   8.19,  36,  4096, 1024,   40960},
      {"qwen3-32b",          32.76,  32.76,  64,  5120, 1024,   40960},
      {"qwen3-30b-a3b",      30.53,   3.35,  48,  2048,  512,  40960,  16, 128, 8},
      {"qwen3-235b-a22b",   235.09,  22.19,  94,  4096,  512,  40960,  16, 128, 8},
      {"gemma-3-27b",        27.01,  27.01,  62,  5376, 2048,  131072},
      {"phi-2",               2.78,   2.78,  32,  2560, 2560,    2048},
      {"phi-4",              14.66,  14.66,  40,  5120, 1280,   16384},
      {"falcon-40b",         41.30,  41.30,  60,  8192,  512,    2048},
      {"falcon-180b",       179.52, 179.52,  80, 14848,  512,    2048},
      {"gpt-oss-20b",        20.91,   3.61,  24,  2880,  512, 131072, 5.3,  32, 4},
      {"gpt-oss-120b",      116.83,   5.13,  36,  2880,  512, 131072, 4.5, 128, 4},
      {"deepseek-v3",       671.03,  37.55,  61,  7168,  288, 163840,   8, 256, 8},
      {"deepseek-r1",       671.03,  37.55,  61,  7168,  288, 163840,   8, 256, 8},
      // clang-format on
  };
  return *presets;
}

// Memory size and bandwidth, dense 16-bit tensor throughput and interconnect from the vendors' data sheets.
const std::vector<GpuSpec>& GpuPresets() {
  static const auto* presets = new std::vector<GpuSpec>{
      // clang-format off
      // name         GB   TB/s TFLOPS link GB/s, us
      {"A100-80G",    80, 2.039,   312,  300,  8},
      {"A100-40G",    40, 1.555,   312,  300,  8},
      {"H100",        80, 3.350,   989,  450,  8},
      {"H100-PCIe",   80, 2.000,   756,   64, 20},
      {"H200",       141, 4.800,   989,  450,  8},
      {"H20",         96, 4.000,   148,  450,  8},
      {"B200",       180, 7.700,  2250,  900,  8},
      {"L4",          24, 0.300,   121,   32, 20},
      {"L40S",        48, 0.864,   362,   32, 20},
      {"A10",         24, 0.600,   125,   32, 20},
      {"V100-32G",    32, 0.900,   125,  150,  8},
      {"T4",          16, 0.320,    65,   16, 20},
      {"RTX-4090",    24, 1.008,   165,   32, 20},
      {"MI300X",     192, 5.300,  1307,  448, 10},
      // clang-format on
  };
  return *presets;
}

absl::StatusOr<ModelSpec> FindModel(const std::string& name, double parameters_b) {
  const std::string stem = Stem(name);
  const ModelSpec* best = nullptr;
  for (const ModelSpec& preset : ModelPresets()) {
    if (stem.rfind(preset.name, 0) != 0) continue;
    if (stem.size() > preset.name.size() &&
        std::isalnum(static_cast<unsigned char>(stem[preset.name.size()])) != 0) {
      continue;
    }
    if (best == nullptr || preset.name.size() > best->name.size()) best = &preset;
  }
  const double size = parameters_b > 0 ? parameters_b : SizeInName(stem);
  ModelSpec model;
  if (best != nullptr && parameters_b == 0) {
    model = *best;
  } else if (size > 0) {
    model = DenseModel(stem, size);
  } else {
    return absl::InvalidArgumentError("sim option 'model' is '" + name +
                                      "', which is no preset and tells no size; give 'parameters_b' too." +
                                      Hint(NearestName(stem, NamesOf(ModelPresets()))));
  }
  if (const double bits = BitsInName(stem); bits > 0) model.weight_bits = bits;
  return model;
}

absl::StatusOr<GpuSpec> FindGpu(const std::string& name) {
  std::string wanted = Squeezed(name);
  if (wanted == "a100") wanted = "a10080g";
  if (wanted == "v100") wanted = "v10032g";
  for (const GpuSpec& gpu : GpuPresets()) {
    if (Squeezed(gpu.name) == wanted) return gpu;
  }
  std::string all;
  for (const GpuSpec& gpu : GpuPresets()) all += (all.empty() ? "" : ", ") + gpu.name;
  return absl::InvalidArgumentError("sim option 'gpu' is '" + name + "'; the presets are " + all + "." +
                                    Hint(NearestName(name, NamesOf(GpuPresets()))));
}

}  // namespace llmbench::sim
