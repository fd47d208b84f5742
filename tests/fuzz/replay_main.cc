// For compilers without libFuzzer: gives a fuzz target the files named, those in the folders named, and
// mutations of each. The mutations are the same in every run.
#include <algorithm>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_input.h"

extern "C" void __asan_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

const std::string* current = nullptr;

// What breaks a target is left behind for the next run.
void KeepCurrent() {
  if (current != nullptr) std::ofstream("crash.http", std::ios::binary) << *current;
}

void Give(const std::string& bytes) {
  current = &bytes;
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
}

// One small damage: a byte changed, dropped or doubled, a piece moved, repeated, cut off or taken from
// another input.
void Mutate(std::string& bytes, const std::vector<std::string>& all, std::mt19937& random) {
  static constexpr std::string_view kTokens[] = {"\r\n",
                                                 "\n\n",
                                                 "\r",
                                                 "data:",
                                                 "error:",
                                                 "{",
                                                 "}",
                                                 "[",
                                                 "]",
                                                 "\"",
                                                 ",",
                                                 ":",
                                                 "\\",
                                                 "\\ud83d",
                                                 "null",
                                                 "0",
                                                 "-1",
                                                 "99999999999999999999",
                                                 "\xff",
                                                 "\xef\xbb\xbf",
                                                 "[DONE]",
                                                 "choices",
                                                 "usage",
                                                 "chunked",
                                                 "Content-Length: 5\r\n"};
  const auto below = [&](size_t limit) { return limit == 0 ? 0 : random() % limit; };
  const size_t at = below(bytes.size());
  const size_t length = std::min(bytes.size() - at, 1 + below(40));
  switch (below(7)) {
    case 0:
      if (!bytes.empty()) bytes[at] = static_cast<char>(random());
      break;
    case 1:
      bytes.erase(at, length);
      break;
    case 2:
      bytes.insert(at, bytes.substr(at, length));
      break;
    case 3:
      bytes.insert(at, kTokens[below(std::size(kTokens))]);
      break;
    case 4:
      bytes.resize(at);
      break;
    case 5: {
      const std::string& other = all[below(all.size())];
      const size_t from = below(other.size());
      bytes.insert(at, other.substr(from, 1 + below(200)));
      break;
    }
    default:
      std::swap_ranges(bytes.begin() + static_cast<ptrdiff_t>(at),
                       bytes.begin() + static_cast<ptrdiff_t>(at + length / 2),
                       bytes.begin() + static_cast<ptrdiff_t>(at + length - length / 2));
  }
}

// The streams of a folder, or where there are none, all that it has.
void AddSeeds(const std::filesystem::path& folder, std::vector<std::filesystem::path>& paths) {
  std::vector<std::filesystem::path> all, streams;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    all.push_back(entry.path());
    const auto extension = entry.path().extension();
    if (extension == ".http" || extension == ".grpc") streams.push_back(entry.path());
  }
  const auto& seeds = streams.empty() ? all : streams;
  paths.insert(paths.end(), seeds.begin(), seeds.end());
}

}  // namespace

int main(int argc, char** argv) {
  int mutations = 100;
  unsigned seed = 1;
  std::vector<std::filesystem::path> paths;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto number = [&](std::string_view flag, auto& value) {
      if (!argument.starts_with(flag)) return false;
      const std::string_view digits = argument.substr(flag.size());
      return std::from_chars(digits.data(), digits.data() + digits.size(), value).ec == std::errc();
    };
    if (number("--mutations=", mutations) || number("--seed=", seed)) continue;
    if (std::filesystem::is_directory(argument)) {
      AddSeeds(argument, paths);
    } else {
      paths.emplace_back(argument);
    }
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s cannot be read\n", path.c_str());
      return 2;
    }
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  if (inputs.empty()) {
    std::fprintf(stderr, "usage: %s [--mutations=N] [--seed=N] FILE_OR_FOLDER...\n", argv[0]);
    return 2;
  }
  const auto keep = [](int) {
    KeepCurrent();
    std::_Exit(1);
  };
  for (const int signal : {SIGABRT, SIGSEGV, SIGFPE}) std::signal(signal, keep);
  if (__asan_set_death_callback != nullptr) __asan_set_death_callback(KeepCurrent);

  std::mt19937 random(seed);
  for (const std::string& input : inputs) {
    Give(input);
    for (int i = 0; i < mutations; ++i) {
      std::string mutated = input;
      for (size_t damages = 1 + random() % 4; damages > 0; --damages) Mutate(mutated, inputs, random);
      Give(mutated);
    }
  }
  std::printf("%zu inputs, %d mutations of each\n", inputs.size(), mutations);
  return 0;
}
