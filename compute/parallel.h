#pragma once

#include <cstdint>
#include <functional>

namespace lava {

/// Threads that work of this thread may be spread over by parallel_items(): those that OwnThreads took from ATen, else
/// at::get_num_threads().
int worker_threads();

/// While it lives, ATen and parallel_items() have so many threads for the work of this thread.
class ThreadCounts
{
public:
    ThreadCounts(int aten, int workers);
    ~ThreadCounts();
    ThreadCounts(const ThreadCounts&) = delete;
    ThreadCounts& operator=(const ThreadCounts&) = delete;

private:
    int aten_before_, workers_before_;
};

/// One thread, ATen's or otherwise, so that arithmetic does not depend on how ATen would split it.
struct SingleThreaded : ThreadCounts
{
    SingleThreaded()
        : ThreadCounts(1, 1)
    { }
};

/// One thread for ATen, and for parallel_items() all that it had: ATen's own, once they have worked, wait for more by
/// spinning on the cores that parallel_items() needs.
struct OwnThreads : ThreadCounts
{
    OwnThreads()
        : ThreadCounts(1, worker_threads())
    { }
};

/// All worker_threads() for ATen, too: for products that it spreads better than parallel_items() could.
struct AtenThreads : ThreadCounts
{
    AtenThreads()
        : ThreadCounts(worker_threads(), worker_threads())
    { }
};

/// Runs work(0) .. work(count - 1) on up to `workers` threads, the calling one among them, each with one ATen thread
/// and in inference mode, so that an item's result does not depend on how many there are. Rethrows the exception of the
/// first item, by index, that threw.
void parallel_items(std::int64_t count, int workers, const std::function<void(std::int64_t)>& work);

/// Hardware threads this process may use; at least 1.
int default_threads();

} // namespace lava
