#include "llmbench/engine/balancer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace llmbench {
namespace {

PlannedRequest Numbered(int64_t id, int32_t slot = -1, int32_t workload = 0) {
  PlannedRequest request;
  request.id = id;
  request.slot = slot;
  request.workload = workload;
  return request;
}

std::vector<int32_t> FirstChoices(Balancing balancing, int endpoints, uint64_t seed, int n) {
  Balancer balancer(balancing, endpoints, seed, 0);
  std::vector<int32_t> chosen;
  for (int i = 0; i < n; ++i) chosen.push_back(balancer.Choose(Numbered(i)));
  return chosen;
}

TEST(Balancer, RoundRobinGoesByNumber) {
  EXPECT_EQ(FirstChoices(Balancing::kRoundRobin, 3, 1, 7), (std::vector<int32_t>{0, 1, 2, 0, 1, 2, 0}));
  Balancer balancer(Balancing::kRoundRobin, 3, 1, 0);
  std::vector<int32_t> backwards;  // the order of asking does not matter; warm-up is numbered downwards
  for (const int64_t id : {5, 4, 3, -1, -2, -3, -4}) backwards.push_back(balancer.Choose(Numbered(id)));
  EXPECT_EQ(backwards, (std::vector<int32_t>{2, 1, 0, 0, 1, 2, 0}));
}

TEST(Balancer, RandomGoesBySeedAndNumber) {
  // Philox with seed 7, stream "where": the same on every machine.
  EXPECT_EQ(FirstChoices(Balancing::kRandom, 3, 7, 12),
            (std::vector<int32_t>{0, 1, 2, 1, 1, 1, 2, 1, 2, 0, 0, 2}));
  EXPECT_EQ(FirstChoices(Balancing::kRandom, 3, 7, 99), FirstChoices(Balancing::kRandom, 3, 7, 99));
  EXPECT_NE(FirstChoices(Balancing::kRandom, 3, 7, 99), FirstChoices(Balancing::kRandom, 3, 8, 99));
  const auto many = FirstChoices(Balancing::kRandom, 4, 1, 40'000);
  for (int32_t endpoint = 0; endpoint < 4; ++endpoint) {
    EXPECT_NEAR(std::count(many.begin(), many.end(), endpoint), 10'000, 500);  // 5.8 standard deviations
  }
}

TEST(Balancer, StickyGoesBySlotOrElseByItem) {
  Balancer balancer(Balancing::kSticky, 3, 1, 0);
  struct Row {
    int32_t slot, workload, endpoint;
  };
  for (const Row& row :
       std::vector<Row>{{0, 5, 0}, {1, 5, 1}, {5, 0, 2}, {9, 1, 0}, {-1, 0, 0}, {-1, 4, 1}, {-1, 8, 2}}) {
    for (const int64_t id : {0, 1, 17}) {
      EXPECT_EQ(balancer.Choose(Numbered(id, row.slot, row.workload)), row.endpoint) << row.slot;
    }
  }
}

TEST(Balancer, LeastInFlightTakesTheLeastAndTiesGoRound) {
  Balancer balancer(Balancing::kLeastInFlight, 3, 1, 0);
  std::vector<PlannedRequest> running;
  for (int64_t id = 0; id < 6; ++id) {
    running.push_back(Numbered(id));
    running.back().endpoint = balancer.Choose(running.back());
    EXPECT_EQ(running.back().endpoint, id % 3);
  }
  balancer.Ended(running[1]);
  balancer.Ended(running[4]);  // endpoint 1 has none now, the others two each
  EXPECT_EQ(balancer.Choose(Numbered(6)), 1);
  EXPECT_EQ(balancer.Choose(Numbered(8)), 1);
  EXPECT_EQ(balancer.Choose(Numbered(8)), 2);  // a tie: by number
}

TEST(Balancer, GivesUpAnEndpointThatNeverAnswered) {
  for (const Balancing balancing :
       {Balancing::kRoundRobin, Balancing::kRandom, Balancing::kSticky, Balancing::kLeastInFlight}) {
    Balancer balancer(balancing, 3, 1, 2);
    PlannedRequest request = Numbered(0, 1);
    request.endpoint = 1;
    EXPECT_FALSE(balancer.Note(request, Outcome::kConnectRefused));
    EXPECT_FALSE(balancer.Note(request, Outcome::kCut));  // not a failure
    EXPECT_FALSE(balancer.given_up(1));
    EXPECT_FALSE(balancer.Note(request, Outcome::kConnectRefused));
    EXPECT_TRUE(balancer.given_up(1));
    int there = 0;
    for (int i = 0; i < 300; ++i) there += balancer.Choose(Numbered(i, i)) == 1;
    const bool looks = balancing == Balancing::kSticky || balancing == Balancing::kLeastInFlight;
    if (looks) {
      EXPECT_EQ(there, 0);
      EXPECT_EQ(balancer.Choose(Numbered(1, 1)), 2);  // the next one
    } else {
      EXPECT_GT(there, 60);
    }
  }
}

TEST(Balancer, SaysWhenNobodyIsLeft) {
  for (const Balancing balancing : {Balancing::kSticky, Balancing::kLeastInFlight}) {
    Balancer balancer(balancing, 2, 1, 1);
    PlannedRequest request = Numbered(0, 0);
    EXPECT_FALSE(balancer.Note(request, Outcome::kConnectRefused));
    request.endpoint = 1;
    EXPECT_TRUE(balancer.Note(request, Outcome::kHttp5xx));
    EXPECT_FALSE(balancer.Note(request, Outcome::kHttp5xx));  // it was said
    const int32_t endpoint = balancer.Choose(request);        // and a choice still comes back
    EXPECT_TRUE(endpoint == 0 || endpoint == 1);
  }
}

TEST(Balancer, AnEndpointThatAnsweredOnceIsKept) {
  Balancer balancer(Balancing::kLeastInFlight, 1, 1, 1);
  const PlannedRequest request = Numbered(0);
  EXPECT_FALSE(balancer.Note(request, Outcome::kOk));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(balancer.Note(request, Outcome::kConnectRefused));
  EXPECT_FALSE(balancer.given_up(0));
}

TEST(Balancer, ConnectionsOpenedBeforehandGoWhereTheFirstRequestsWill) {
  for (const Balancing balancing : {Balancing::kRoundRobin, Balancing::kRandom, Balancing::kSticky}) {
    Balancer balancer(balancing, 3, 5, 0);
    for (int64_t i = 0; i < 50; ++i) {
      const PlannedRequest request = Numbered(i, static_cast<int32_t>(i));
      EXPECT_EQ(balancer.ChooseWarm(request, 0), balancer.Choose(request));
    }
  }
  const Balancer balancer(Balancing::kLeastInFlight, 3, 5, 0);
  for (int64_t turn = 0; turn < 9; ++turn) EXPECT_EQ(balancer.ChooseWarm(Numbered(0), turn), turn % 3);
}

}  // namespace
}  // namespace llmbench
