#include "runtime/request.h"

#include <chrono>
#include <string>

#include "gtest/gtest.h"
#include "runtime/sync/channel.h"
#include "tests/testing/runtime_test.h"

namespace fiberscope {
namespace {

using RequestTest = testing::RuntimeTest;

constexpr char kTraceparent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(AcceptRequestTest, TakesOverWhatCameAndMakesASpanOfItsOwn) {
  const RequestIdentity identity =
      AcceptRequest({.request_id = "order/7", .traceparent = kTraceparent, .tracestate = "congo=1, rojo=2"});
  EXPECT_EQ(identity.id.text(), "order/7");
  EXPECT_EQ(identity.trace.trace_id.ToString(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(identity.parent_span_id.ToString(), "00f067aa0ba902b7");
  EXPECT_NE(identity.trace.span_id, identity.parent_span_id);
  EXPECT_TRUE(identity.trace.span_id);
  EXPECT_TRUE(identity.trace.sampled);
  EXPECT_EQ(identity.trace.state, "congo=1,rojo=2");

  const TraceContext call = identity.ChildSpan();
  EXPECT_EQ(call.trace_id, identity.trace.trace_id);
  EXPECT_EQ(call.state, identity.trace.state);
  EXPECT_TRUE(call.sampled);
  EXPECT_NE(call.span_id, identity.trace.span_id);
}

TEST(AcceptRequestTest, MakesAnewWhatDidNotCome) {
  const MalformedIdentityCounts before = MalformedIdentities();
  const RequestIdentity identity = AcceptRequest({.tracestate = "congo=1"});
  EXPECT_FALSE(identity.id.text().empty());
  EXPECT_TRUE(identity.trace.trace_id);
  EXPECT_TRUE(identity.trace.span_id);
  EXPECT_FALSE(identity.parent_span_id);
  EXPECT_FALSE(identity.trace.sampled);
  EXPECT_EQ(identity.trace.state, "");  // of somebody else's trace
  EXPECT_NE(AcceptRequest().id, identity.id);
  const MalformedIdentityCounts after = MalformedIdentities();
  EXPECT_EQ(after.request_ids, before.request_ids);
  EXPECT_EQ(after.traceparents, before.traceparents);
  EXPECT_EQ(after.tracestates, before.tracestates);
}

TEST(AcceptRequestTest, CountsWhatIsMalformedAndGoesOnWithoutIt) {
  const MalformedIdentityCounts before = MalformedIdentities();
  const RequestIdentity broken = AcceptRequest({.request_id = "a b", .traceparent = "00-xyz", .tracestate = "congo=1"});
  EXPECT_EQ(RequestId::Parse(broken.id.text()), broken.id);
  EXPECT_EQ(broken.id.text().size(), 36);
  EXPECT_TRUE(broken.trace.trace_id);
  EXPECT_FALSE(broken.parent_span_id);
  // A tracestate that is malformed does not take the trace with it.
  const RequestIdentity kept = AcceptRequest({.traceparent = kTraceparent, .tracestate = "Congo=1"});
  EXPECT_EQ(kept.trace.trace_id.ToString(), "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(kept.trace.state, "");
  const MalformedIdentityCounts after = MalformedIdentities();
  EXPECT_EQ(after.request_ids, before.request_ids + 1);
  EXPECT_EQ(after.traceparents, before.traceparents + 1);
  EXPECT_EQ(after.tracestates, before.tracestates + 1);
}

TEST_P(RequestTest, IsInheritedAndEndsWithItsScope) {
  RunInFiber([&] {
    EXPECT_EQ(this_fiber::request(), nullptr);
    const RequestIdentity outer = AcceptRequest({.request_id = "outer"});
    {
      const RequestScope scope(outer);
      EXPECT_EQ(*this_fiber::request(), outer);
      Spawn([&] { EXPECT_EQ(*this_fiber::request(), outer); }).Join();
      {
        const RequestScope inner(AcceptRequest({.request_id = "inner"}));
        EXPECT_EQ(this_fiber::request()->id.text(), "inner");
        EXPECT_EQ(this_fiber::labels().Get("request_id"), "inner");
      }
      EXPECT_EQ(*this_fiber::request(), outer);
      // Found below contexts that have nothing to do with it.
      const ContextScope below(this_fiber::context().WithTimeout(std::chrono::hours(1)));
      EXPECT_EQ(*this_fiber::request(), outer);
    }
    EXPECT_EQ(this_fiber::request(), nullptr);
    EXPECT_TRUE(this_fiber::labels().empty());
  });
}

TEST_P(RequestTest, IsAmongTheLabelsSoDumpsAndProfilesHaveIt) {
  RunInFiber([&] {
    this_fiber::SetLabels(Labels({{"route", "/order"}}));
    const RequestScope scope(AcceptRequest({.request_id = "r-1", .traceparent = kTraceparent}));
    const Labels labels = this_fiber::labels();
    EXPECT_EQ(labels.Get("route"), "/order");
    EXPECT_EQ(labels.Get("request_id"), "r-1");
    EXPECT_EQ(labels.Get("trace_id"), "4bf92f3577b34da6a3ce929d0e0e4736");
  });
}

TEST_P(RequestTest, GoesThroughAChannelWithAContext) {
  RunInFiber([&] {
    Channel<Context> jobs(1);
    Fiber worker = Spawn([&] {
      EXPECT_EQ(this_fiber::request(), nullptr);
      const ContextScope scope(*jobs.Receive());
      EXPECT_EQ(this_fiber::request()->id.text(), "r-1");
    });
    {
      const RequestScope scope(AcceptRequest({.request_id = "r-1"}));
      jobs.Send(this_fiber::context());
    }
    worker.Join();
  });
}

TEST(RequestOfAThreadTest, IsNone) { EXPECT_EQ(this_fiber::request(), nullptr); }

INSTANTIATE_TEST_SUITE_P(Processors, RequestTest, ::testing::Values(1, 2));

}  // namespace
}  // namespace fiberscope
