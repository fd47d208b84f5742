#include "llmbench/sim/options.h"

#include <gtest/gtest.h>

namespace llmbench::sim {
namespace {

TEST(OptionsTest, EveryDefaultInTheTableIsWhatItsOptionTakes) {
  for (const OptionInfo& info : OptionTable()) {
    Options options;
    EXPECT_TRUE(SetOption(info.name, info.default_value, &options).ok()) << info.name;
    EXPECT_FALSE(info.help.empty()) << info.name;
    for (const std::string& choice : info.choices)
      EXPECT_TRUE(SetOption(info.name, choice, &options).ok()) << choice;
  }
}

TEST(OptionsTest, HyphensAndUnderscoresAreOne) {
  Options options;
  ASSERT_TRUE(SetOption("max-num-seqs", "7", &options).ok());
  ASSERT_TRUE(SetOption("line_ending", "crlf", &options).ok());
  ASSERT_TRUE(SetOption("prefix_caching", "false", &options).ok());
  EXPECT_EQ(options.max_num_seqs, 7);
  EXPECT_EQ(options.line_ending, LineEnding::kCrLf);
  EXPECT_FALSE(options.prefix_caching);
}

TEST(OptionsTest, ErrorsNameTheOptionTheValueAndTheRemedy) {
  const struct {
    const char* name;
    const char* value;
    const char* message;
  } kCases[] = {
      {"ttft_mss", "1", "sim option 'ttft_mss' is unknown; did you mean 'ttft_ms'?"},
      {"zzzzzzzzzz", "1", "sim option 'zzzzzzzzzz' is unknown."},
      {"port", "99999", "sim option 'port' is '99999'; it takes a whole number from 0 to 65535."},
      {"port", "8x", "sim option 'port' is '8x'; it takes a whole number from 0 to 65535."},
      {"itl_ms", "-1", "sim option 'itl_ms' is '-1'; it takes a number from 0 to 1e+09."},
      {"itl_ms", "nan", "sim option 'itl_ms' is 'nan'; it takes a number from 0 to 1e+09."},
      {"fixed", "yes", "sim option 'fixed' is 'yes'; it takes true or false."},
      {"role", "x", "sim option 'role' is 'x'; it takes auto, none, early, late, null, first or every."},
  };
  for (const auto& c : kCases) {
    Options options;
    const absl::Status status = SetOption(c.name, c.value, &options);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), c.message);
  }
}

TEST(OptionsTest, ATimeSelectsFixedMode) {
  EXPECT_FALSE(OptionsFrom({})->fixed);
  EXPECT_TRUE(OptionsFrom({{"ttft_ms", "5"}})->fixed);
  EXPECT_TRUE(OptionsFrom({{"itl-ms", "5"}})->fixed);
  EXPECT_FALSE(OptionsFrom({{"ttft_ms", "5"}, {"fixed", "false"}}).ok());
}

TEST(OptionsTest, ContradictionsAreFound) {
  Options options;
  options.port = 65535;
  options.replicas = 2;
  EXPECT_FALSE(Validate(options).ok());
  options = Options();
  options.tls_cert = "a.pem";
  EXPECT_FALSE(Validate(options).ok());
  for (const char* range : {"5:1", "x", ":", "-1", "1:2:3"}) {
    options = Options();
    options.idle_close_ms = range;
    EXPECT_FALSE(Validate(options).ok()) << range;
  }
  options.idle_close_ms = "0:2000";
  EXPECT_TRUE(Validate(options).ok());
  EXPECT_FALSE([] {
    Options dressed;
    dressed.dress = "comments,hat";
    return Validate(dressed);
  }()
                   .ok());
}

}  // namespace
}  // namespace llmbench::sim
