// Load for the demo: clients that order over real connections, fibers that just wait, and one that should not do what it does.
#ifndef FIBERSCOPE_SERVER_EXAMPLE_LOAD_H_
#define FIBERSCOPE_SERVER_EXAMPLE_LOAD_H_

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>

#include "runtime/scheduler.h"
#include "runtime/sync/channel.h"

namespace demo {

// Spawns client fibers that together send `requests_per_second` requests to the gateway at `endpoint`, over one
// connection each, until the scheduler stops.
void SpawnClients(fiberscope::Scheduler& scheduler, const boost::asio::ip::tcp::endpoint& endpoint,
                  int requests_per_second);

// Spawns `count` fibers that each call ten functions deep and then receive from `never`.
void SpawnParkedFibers(fiberscope::Scheduler& scheduler, int count, fiberscope::Channel<int>& never);

// Spawns a fiber that every 5 s blocks its thread for 1 s in a call that is not marked as blocking: the monitor reports it.
void SpawnStall(fiberscope::Scheduler& scheduler);

}  // namespace demo

#endif  // FIBERSCOPE_SERVER_EXAMPLE_LOAD_H_
