#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <vector>

namespace lava::cuda::testing {

/// Order in which the threads of a block run between two syncs, and the blocks of a launch. A kernel without races
/// gives the same bytes in either.
enum class Order
{
    ascending,
    descending
};

/// Which thread of its block the calling kernel is.
inline int& running_thread()
{
    static thread_local int thread = 0;
    return thread;
}

/// Runs kernels (compute/cuda/block.h) on the CPU, one thread at a time: each thread of a block has a stack of its own
/// and runs until it syncs. Throws where not all threads of a block sync, or where shared memory is overrun. Shared
/// memory, and what make() gives, begin as NaN.
class EmulatedMachine
{
public:
    explicit EmulatedMachine(Order order = Order::ascending)
        : order_(order)
    { }

    template <typename Kernel> void launch(const Kernel& kernel) const
    {
        const auto blocks = kernel.blocks();
        Threads threads(Kernel::threads, order_);
        for (std::int64_t i = 0; i < blocks; ++i) {
            const auto index = order_ == Order::ascending ? i : blocks - 1 - i;
            threads.run(index, kernel.shared_bytes(), &call<Kernel>, &kernel);
        }
    }

    /// Memory of the size asked for, so that the address sanitizer sees what lies beyond.
    template <typename T> class Array
    {
    public:
        Array() = default;
        explicit Array(std::vector<T> values)
            : values_(std::make_unique<T[]>(values.size()))
            , size_(values.size())
        {
            std::copy(values.begin(), values.end(), values_.get());
        }

        T* data() const { return values_.get(); }
        std::size_t size() const { return size_; }

    private:
        std::unique_ptr<T[]> values_;
        std::size_t size_ = 0;
    };

    template <typename T> Array<T> make(std::int64_t count) const
    {
        std::vector<T> values(static_cast<std::size_t>(count));
        if (count > 0) {
            std::memset(values.data(), unset, values.size() * sizeof(T));
        }
        return Array<T>(std::move(values));
    }
    template <typename T> Array<T> copy_in(const std::vector<T>& values) const { return Array<T>(values); }
    template <typename T> Array<T> copy_in(const T* from, std::int64_t count) const
    {
        return Array<T>(std::vector<T>(from, from + count));
    }
    template <typename T> std::vector<T> copy_out(const Array<T>& array) const
    {
        return {array.data(), array.data() + array.size()};
    }

private:
    static constexpr unsigned char unset = 0xFF; // as float and double: NaN

    class Threads;

    struct Block
    {
        Threads* threads;
        int thread_;

        std::int64_t index() const { return threads->index(); }
        int thread() const { return thread_; }
        void sync() const { threads->sync(thread_); }
        unsigned char* shared() const { return threads->shared(); }
    };

    using Call = void (*)(const void* kernel, const Block& block);

    template <typename Kernel> static void call(const void* kernel, const Block& block)
    {
        (*static_cast<const Kernel*>(kernel))(block);
    }

    class Threads
    {
    public:
        Threads(int count, Order order)
            : order_(order)
            , fibers_(static_cast<std::size_t>(count))
        { }

        void run(std::int64_t index, std::size_t shared_bytes, Call call, const void* kernel)
        {
            index_ = index, call_ = call, kernel_ = kernel;
            shared_.assign(shared_bytes / sizeof(Line) + 2, Line());
            std::memset(shared_.data(), unset, shared_.size() * sizeof(Line));
            for (int i = 0; i < std::ssize(fibers_); ++i) {
                start(i);
            }
            while (step() == 0) { }
            const auto* const bytes = shared();
            if (std::any_of(bytes + shared_bytes, bytes + shared_.size() * sizeof(Line),
                    [](unsigned char byte) { return byte != unset; })) {
                throw std::logic_error("a kernel wrote behind its shared memory");
            }
        }

        std::int64_t index() const { return index_; }
        unsigned char* shared() { return shared_.front().bytes; }
        void sync(int thread) { swapcontext(&fibers_[static_cast<std::size_t>(thread)].context, &scheduler_); }

    private:
        static constexpr std::size_t stack_bytes = 64 * 1024;

        struct alignas(128) Line
        {
            unsigned char bytes[128];
        };

        struct Fiber
        {
            ucontext_t context;
            std::unique_ptr<unsigned char[]> stack = std::make_unique_for_overwrite<unsigned char[]>(stack_bytes);
            bool is_done = false;
        };

        void start(int thread)
        {
            auto& fiber = fibers_[static_cast<std::size_t>(thread)];
            fiber.is_done = false;
            getcontext(&fiber.context);
            fiber.context.uc_stack.ss_sp = fiber.stack.get();
            fiber.context.uc_stack.ss_size = stack_bytes;
            fiber.context.uc_link = &scheduler_;
            const auto self = reinterpret_cast<std::uintptr_t>(this); // makecontext passes ints only
            makecontext(&fiber.context, reinterpret_cast<void (*)()>(&enter), 3, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self), thread);
        }

        static void enter(unsigned high, unsigned low, int thread)
        {
            auto* const self = reinterpret_cast<Threads*>(static_cast<std::uintptr_t>(high) << 32 | low);
            self->call_(self->kernel_, Block{self, thread});
            self->fibers_[static_cast<std::size_t>(thread)].is_done = true;
        }

        /// Lets every thread run to its next sync, or its end; returns how many have ended.
        std::size_t step()
        {
            const auto count = fibers_.size();
            for (std::size_t i = 0; i < count; ++i) {
                const auto thread = order_ == Order::ascending ? i : count - 1 - i;
                running_thread() = static_cast<int>(thread);
                swapcontext(&scheduler_, &fibers_[thread].context);
            }
            const auto done = static_cast<std::size_t>(
                std::count_if(fibers_.begin(), fibers_.end(), [](const Fiber& fiber) { return fiber.is_done; }));
            if (done != 0 && done != count) {
                throw std::logic_error("some threads of a block sync, others have ended");
            }
            return done;
        }

        Order order_;
        std::vector<Fiber> fibers_;
        std::vector<Line> shared_;
        std::int64_t index_ = 0;
        Call call_ = nullptr;
        const void* kernel_ = nullptr;
        ucontext_t scheduler_{};
    };

    Order order_;
};

} // namespace lava::cuda::testing
