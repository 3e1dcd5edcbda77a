#include "replay/scores/leave_one_out.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace lava {

namespace {

// Entries handled together: their products stay in the cache.
constexpr std::int64_t block = 512;
// Below this the attention of single entries begins to lose digits, as numbers near fp32's smallest do.
constexpr double least_mass = 1e-30;

// Two query heads of a group whose errors meet in the norm; a head meets itself once, another one twice.
struct HeadPair
{
    std::int64_t first;
    std::int64_t second;
};

// The heads that one score is made of, all on one KV head.
class ScoredHeads
{
public:
    // attention: [heads, rows, seq_len]; q: [heads, rows, head_dim]; k, v: [seq_len, head_dim]; gram: [heads *
    // head_dim, heads * head_dim]
    ScoredHeads(const at::Tensor& attention, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
        at::Tensor gram, std::int64_t evictable, std::int64_t sliding_window)
        : heads_(attention.size(0))
        , rows_(attention.size(1))
        , evictable_(evictable)
        , gram_(std::move(gram))
    {
        const auto center = v.mean(0);
        values_ = v.narrow(0, 0, evictable) - center; // o - v does not change, its terms cancel less
        split_attention(attention, v - center);
        restore_rest(q.reshape({heads_ * rows_, -1}), k, v - center, sliding_window);
        for (std::int64_t first = 0; first < heads_; ++first) {
            for (auto second = first; second < heads_; ++second) {
                pairs_.push_back({first, second});
            }
        }
        prepare_products();
    }

    // [rows, evictable] squared norms
    at::Tensor errors() const
    {
        auto errors = at::empty({rows_, evictable_});
        for (std::int64_t begin = 0; begin < evictable_; begin += block) {
            add_block(errors, begin, std::min(block, evictable_ - begin));
        }
        replace_dominant(errors);
        return errors;
    }

private:
    std::int64_t head_dim() const { return values_.size(1); }
    std::int64_t flat(std::int64_t head, std::int64_t row) const { return head * rows_ + row; }

    // An entry that draws more than half of a query's attention is left out of the sums: o - v_i would cancel, and 1 -
    // p too. a (o - v_i) is p times (the output of the rest, renormalised, - v_i). No query has two such entries.
    void split_attention(const at::Tensor& attention, const at::Tensor& v)
    {
        auto rest = attention.reshape({heads_ * rows_, -1}).clone();
        const auto [largest, place] = rest.narrow(1, 0, evictable_).max(1);
        dominant_.assign(static_cast<std::size_t>(heads_ * rows_), -1);
        dominance_ = at::zeros({heads_ * rows_});
        for (std::int64_t i = 0; i < heads_ * rows_; ++i) {
            const auto p = largest.const_data_ptr<float>()[i];
            if (p > 0.5F) {
                const auto entry = place.const_data_ptr<std::int64_t>()[i];
                dominant_[static_cast<std::size_t>(i)] = entry;
                dominance_.data_ptr<float>()[i] = p;
                rest.data_ptr<float>()[i * rest.size(1) + entry] = 0;
            }
        }
        const auto rest_mass = rest.sum(1, true).clamp_min(least_mass);
        rest_output_ = at::mm(rest, v) / rest_mass; // [heads * rows, head_dim]
        vanished_ = rest_mass.squeeze(1).le(least_mass);
        const auto share = dominance_.unsqueeze(1);
        outputs_ = rest_output_ * rest_mass;
        for (std::int64_t i = 0; i < heads_ * rows_; ++i) {
            if (const auto entry = dominant_[static_cast<std::size_t>(i)]; entry >= 0) {
                outputs_[i] += dominance_[i] * values_[entry];
            }
        }
        rest = rest.narrow(1, 0, evictable_);
        odds_ = (rest / (1 - rest)).contiguous(); // [heads * rows, evictable], 0 at the dominant entries
    }

    // Where all of fp32's attention is on one entry, the rest's is found anew from its logits, in double.
    void restore_rest(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, std::int64_t sliding_window)
    {
        const auto scale = 1 / std::sqrt(static_cast<double>(k.size(1)));
        for (std::int64_t i = 0; i < heads_ * rows_; ++i) {
            const auto entry = dominant_[static_cast<std::size_t>(i)];
            if (entry < 0 || !vanished_.const_data_ptr<bool>()[i]) {
                continue;
            }
            const auto position = k.size(0) - rows_ + i % rows_, first = first_seen(position, sliding_window);
            const auto seen = [&](const at::Tensor& x) { return x.narrow(0, first, position + 1 - first); };
            auto logits = at::mv(seen(k).to(at::kDouble), q[i].to(at::kDouble)) * scale;
            logits[entry - first] = -std::numeric_limits<double>::infinity();
            rest_output_[i].copy_(at::mv(seen(v).t().to(at::kDouble), at::softmax(logits, 0)));
        }
    }

    at::Tensor gram_of(std::int64_t first, std::int64_t second) const // [head_dim, head_dim]
    {
        return gram_.narrow(0, first * head_dim(), head_dim()).narrow(1, second * head_dim(), head_dim());
    }

    at::Tensor outputs_of(std::int64_t head) const { return outputs_.narrow(0, head * rows_, rows_); }

    // (o - v)^T M (o' - v) = o^T M o' - v^T (M o' + M^T o) + v^T M v
    void prepare_products()
    {
        std::vector<at::Tensor> linear;
        for (const auto& [first, second] : pairs_) {
            const auto m = gram_of(first, second);
            const auto right = at::mm(outputs_of(second), m.t()); // rows: M o'
            const auto left = at::mm(outputs_of(first), m); // rows: M^T o
            linear.push_back(right + left);
            constant_.push_back((outputs_of(first) * right).sum(1));
        }
        linear_ = at::cat(linear); // [pairs * rows, head_dim]
    }

    void add_block(at::Tensor& errors, std::int64_t begin, std::int64_t count) const
    {
        const auto v = values_.narrow(0, begin, count);
        const auto linear = at::mm(linear_, v.t()); // [pairs * rows, count]
        std::vector<at::Tensor> quadratic; // [count] each
        for (const auto& [first, second] : pairs_) {
            quadratic.push_back((at::mm(v, gram_of(first, second)) * v).sum(1));
        }
        for (std::int64_t row = 0; row < rows_; ++row) {
            auto* error = errors.data_ptr<float>() + row * evictable_ + begin;
            std::fill(error, error + count, 0.0F);
            for (std::size_t pair = 0; pair < pairs_.size(); ++pair) {
                const auto& [first, second] = pairs_[pair];
                const auto* a = odds_.const_data_ptr<float>() + flat(first, row) * evictable_ + begin;
                const auto* b = odds_.const_data_ptr<float>() + flat(second, row) * evictable_ + begin;
                const auto* q = quadratic[pair].const_data_ptr<float>();
                const auto* l
                    = linear.const_data_ptr<float>() + (static_cast<std::int64_t>(pair) * rows_ + row) * count;
                const auto c = constant_[pair].const_data_ptr<float>()[row];
                const auto times = first == second ? 1.0F : 2.0F;
                for (std::int64_t i = 0; i < count; ++i) {
                    error[i] += times * a[i] * b[i] * (c - l[i] + q[i]);
                }
            }
            for (std::int64_t i = 0; i < count; ++i) {
                error[i] = std::max(error[i], 0.0F); // where the terms cancel
            }
        }
    }

    // The head's error vector at one entry, [head_dim].
    at::Tensor error_vector(std::int64_t head, std::int64_t row, std::int64_t entry) const
    {
        const auto i = flat(head, row);
        if (dominant_[static_cast<std::size_t>(i)] == entry) {
            return dominance_[i] * (rest_output_[i] - values_[entry]);
        }
        return odds_[i][entry] * (outputs_[i] - values_[entry]);
    }

    void replace_dominant(at::Tensor& errors) const
    {
        std::vector<std::int64_t> cells; // row * evictable + entry
        for (std::int64_t i = 0; i < heads_ * rows_; ++i) {
            if (const auto entry = dominant_[static_cast<std::size_t>(i)]; entry >= 0) {
                cells.push_back(i % rows_ * evictable_ + entry);
            }
        }
        std::sort(cells.begin(), cells.end());
        cells.erase(std::unique(cells.begin(), cells.end()), cells.end());
        if (cells.empty()) {
            return;
        }
        std::vector<at::Tensor> vectors;
        for (const auto cell : cells) {
            for (std::int64_t head = 0; head < heads_; ++head) {
                vectors.push_back(error_vector(head, cell / evictable_, cell % evictable_));
            }
        }
        const auto stacked = at::stack(vectors).view({-1, heads_ * head_dim()});
        const auto norms = (at::mm(stacked, gram_) * stacked).sum(1).clamp_min(0);
        for (std::size_t i = 0; i < cells.size(); ++i) {
            errors.data_ptr<float>()[cells[i]] = norms.const_data_ptr<float>()[i];
        }
    }

    std::int64_t heads_;
    std::int64_t rows_;
    std::int64_t evictable_;
    at::Tensor gram_;
    std::vector<HeadPair> pairs_;
    at::Tensor values_; // [evictable, head_dim], centred
    at::Tensor outputs_; // [heads * rows, head_dim], centred
    at::Tensor rest_output_; // [heads * rows, head_dim]: without the dominant entry, renormalised
    at::Tensor odds_; // [heads * rows, evictable]
    at::Tensor dominance_; // [heads * rows]
    at::Tensor vanished_; // [heads * rows] bool: of the rest's attention too little is left in fp32
    std::vector<std::int64_t> dominant_; // [heads * rows]; -1: none
    at::Tensor linear_; // [pairs * rows, head_dim]
    std::vector<at::Tensor> constant_; // [rows] each
};

// [heads * head_dim, heads * head_dim] of the query heads from `first` on
at::Tensor gram_matrix(const LayerInputs& layer, const LeaveOneOutRule& rule, std::int64_t first, std::int64_t heads)
{
    const auto head_dim = layer.shape().head_dim;
    if (rule.error == LeaveOneOutRule::Error::head) {
        return at::eye(heads * head_dim);
    }
    const auto w = layer.w_o().narrow(1, first * head_dim, heads * head_dim);
    return at::mm(w.t(), w);
}

// [rows]: the squared norm of what the layer writes for each of the window's queries
at::Tensor output_norms(const LayerInputs& layer, const at::Tensor& attention)
{
    const auto& shape = layer.shape();
    const auto rows = attention.size(1);
    const auto grouped = attention.reshape({shape.num_kv_heads, shape.group_size() * rows, layer.seq_len()});
    const auto outputs = at::bmm(grouped, layer.v()).view({shape.num_heads, rows, shape.head_dim});
    auto written = at::mm(outputs.transpose(0, 1).reshape({rows, -1}), layer.w_o().t());
    if (layer.b_o().defined()) {
        written = written + layer.b_o();
    }
    return written.square().sum(1);
}

// Where the layer writes nothing, an entry that changes nothing scores 0.
at::Tensor above_zero(const at::Tensor& norms)
{
    return at::where(norms.eq(0), std::numeric_limits<float>::min(), norms);
}

at::Tensor reduce_rows(const at::Tensor& errors, LeaveOneOutRule::Reduce reduce)
{
    switch (reduce) {
    case LeaveOneOutRule::Reduce::mean:
        return errors.mean(0);
    case LeaveOneOutRule::Reduce::sum:
        return errors.sum(0);
    case LeaveOneOutRule::Reduce::max:
        break;
    }
    return errors.amax(0);
}

} // namespace

at::Tensor leave_one_out_scores(const LayerInputs& layer, const LeaveOneOutRule& rule)
{
    const auto& shape = layer.shape();
    const auto attention = layer.window_attention(rule.query_rows);
    const auto norms
        = rule.relative ? above_zero(output_norms(layer, attention)).unsqueeze(1) : at::ones({rule.query_rows, 1});
    const auto q = layer.queries(rule.query_rows);
    const auto together = rule.error == LeaveOneOutRule::Error::layer ? shape.group_size() : 1;
    std::vector<at::Tensor> scores;
    for (std::int64_t first = 0; first < shape.num_heads; first += together) {
        const auto kv_head = first / shape.group_size();
        const ScoredHeads heads(attention.narrow(0, first, together), q.narrow(0, first, together), layer.k()[kv_head],
            layer.v()[kv_head], gram_matrix(layer, rule, first, together), layer.seq_len() - rule.window,
            layer.sliding_window());
        scores.push_back(reduce_rows(heads.errors() / norms, rule.reduce));
    }
    return at::stack(scores);
}

} // namespace lava
