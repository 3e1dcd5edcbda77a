#pragma once

#include <cstdint>
#include <functional>

namespace lava {

/// One ATen thread while it lives, so that arithmetic does not depend on how ATen would split it.
class SingleThreaded
{
public:
    SingleThreaded();
    ~SingleThreaded();
    SingleThreaded(const SingleThreaded&) = delete;
    SingleThreaded& operator=(const SingleThreaded&) = delete;

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
