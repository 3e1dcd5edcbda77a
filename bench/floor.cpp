#include "bench/floor.h"

#include "compute/linear.h"
#include "compute/parallel.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <functional>

namespace lava::bench {

namespace {

std::vector<ProductShape> floor_shapes(const Workload& workload)
{
    constexpr std::int64_t window = 32;
    const auto& layer = workload.layers.front();
    const auto& shape = layer.shape;
    const auto layers = static_cast<double>(workload.layers.size());
    const auto policies = static_cast<double>(workload.policies.size());
    const auto head_products = layers * static_cast<double>(shape.num_kv_heads);
    double rows = 0;
    for (std::size_t policy = 0; policy < workload.policies.size(); ++policy) {
        for (std::size_t i = 0; i < workload.layers.size(); ++i) {
            rows += static_cast<double>(workload.product_rows(policy, i));
        }
    }
    const auto whole = workload.budgets * layer.eval_len; // rows of one policy in one layer
    const auto group = shape.group_size();
    return {{"QK^T", group * layer.eval_len, shape.head_dim, layer.seq_len, head_products},
        {"window scores", group * window, shape.head_dim, layer.seq_len, head_products},
        {"PV", group * layer.eval_len, layer.seq_len, shape.head_dim, head_products * policies},
        {"W_O", whole, shape.num_heads * shape.head_dim, shape.hidden_size, rows / static_cast<double>(whole)}};
}

using Product = std::function<void(std::int64_t thread)>;

// Each product is made by every thread a few times, in its own memory.
double seconds_for(double count, int threads, Clock clock, const Product& product)
{
    const auto repeats = std::max<std::int64_t>(2, static_cast<std::int64_t>(count / (12.0 * threads)));
    parallel_items(threads, threads, product); // what is allocated and compiled once
    const auto seconds = seconds_of(clock, [&] {
        parallel_items(threads, threads, [&](std::int64_t thread) {
            for (std::int64_t i = 0; i < repeats; ++i) {
                product(thread);
            }
        });
    });
    return seconds * count / static_cast<double>(repeats * threads);
}

} // namespace

FloorProduct time_product(const ProductShape& shape, int threads, Clock clock)
{
    std::vector<at::Tensor> left;
    std::vector<at::Tensor> right; // [columns, inner], as oneDNN reads it
    std::vector<at::Tensor> right_rows; // [inner, columns]
    std::vector<at::Tensor> results;
    for (int thread = 0; thread < threads; ++thread) {
        left.push_back(at::rand({shape.rows, shape.inner}));
        right.push_back(at::rand({shape.columns, shape.inner}));
        right_rows.push_back(right.back().t().contiguous());
        results.push_back(at::empty({shape.rows, shape.columns}));
    }
    FloorProduct timed;
    timed.name = shape.name;
    timed.flops = 2.0 * shape.count * static_cast<double>(shape.rows * shape.inner * shape.columns);
    timed.mkl_seconds = seconds_for(shape.count, threads, clock, [&](std::int64_t thread) {
        const auto i = static_cast<std::size_t>(thread);
        at::mm_out(results[i], left[i], right_rows[i]);
    });
    timed.onednn_seconds = seconds_for(shape.count, threads, clock, [&](std::int64_t thread) {
        const auto i = static_cast<std::size_t>(thread);
        results[i] = project(left[i], right[i]);
    });
    return timed;
}

std::vector<FloorProduct> time_floor(const Workload& workload, int threads, Clock clock)
{
    std::vector<FloorProduct> products;
    for (const auto& shape : floor_shapes(workload)) {
        products.push_back(time_product(shape, threads, clock));
    }
    return products;
}

double floor_seconds(const std::vector<FloorProduct>& products)
{
    double sum = 0;
    for (const auto& product : products) {
        sum += std::min(product.mkl_seconds, product.onednn_seconds);
    }
    return sum;
}

} // namespace lava::bench
