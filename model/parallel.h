#pragma once

#include <cstdint>
#include <functional>

namespace lava {

/// One thread while it lives, ATen's or otherwise, so that arithmetic does not depend on how ATen would split it.
class SingleThreaded
{
public:
    SingleThreaded();
    ~SingleThreaded();
    SingleThreaded(const SingleThreaded&) = delete;
    SingleThreaded& operator=(const SingleThreaded&) = delete;

private:
    int aten_before_, workers_before_;
};

/// Threads that work of this thread may be spread over by parallel_items(): those that OwnThreads took from ATen, else
/// at::get_num_threads().
int worker_threads();

/// While it lives, ATen has one thread here and parallel_items() all that it had: ATen's own, once they have worked,
/// wait for more by spinning on the cores that parallel_items() needs.
class OwnThreads
{
public:
    OwnThreads();
    ~OwnThreads();
    OwnThreads(const OwnThreads&) = delete;
    OwnThreads& operator=(const OwnThreads&) = delete;

private:
    int aten_before_, workers_before_;
};

/// While it lives, ATen has the worker_threads(), for products that it spreads better than parallel_items() could.
class AtenThreads
{
public:
    AtenThreads();
    ~AtenThreads();
    AtenThreads(const AtenThreads&) = delete;
    AtenThreads& operator=(const AtenThreads&) = delete;

private:
    int before_;
};

/// Runs work(0) .. work(count - 1) on up to `workers` threads, the calling one among them, each with one ATen thread
/// and in inference mode, so that an item's result does not depend on how many there are. Rethrows the exception of the
/// first item, by index, that threw.
void parallel_items(std::int64_t count, int workers, const std::function<void(std::int64_t)>& work);

/// Hardware threads this process may use; at least 1.
int default_threads();

} // namespace lava
