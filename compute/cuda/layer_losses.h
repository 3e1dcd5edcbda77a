#pragma once

// The exact losses of one layer by kernels, on whatever runs them. A Machine has launch(kernel) and, for memory where
// its kernels run, Array<T> with data(); make<T>(count), copy_in(vector or pointer and count), copy_out(array).

#include "compute/cuda/cut_differences.h"
#include "compute/cuda/piece_sums.h"
#include "compute/cuda/product_norms.h"
#include "compute/head_cuts.h"

#include <algorithm>
#include <mutex>
#include <numeric>
#include <vector>

namespace lava::cuda {

template <typename T> std::int64_t size_of(const std::vector<T>& values)
{
    return static_cast<std::int64_t>(values.size());
}

/// [num_kv_heads] ascending, distinct numbers of ranked entries that a head keeps.
using HeadCounts = std::vector<std::vector<std::int64_t>>;

/// A layer's losses by kernels. Threads take turns.
template <typename Machine> class LayerLosses : public LayerEngine
{
public:
    LayerLosses(const Machine& machine, const LossInputs& inputs)
        : machine_(machine)
        , sizes_(inputs.sizes)
        , values_(joined(inputs.v, inputs.v_eval))
        , w_o_(machine.copy_in(inputs.w_o, sizes_.hidden_size * sizes_.num_heads * sizes_.head_dim))
        , logits_(machine.template make<double>(sizes_.num_kv_heads * sizes_.entries() * sizes_.columns()))
        , weights_(machine.template make<float>(sizes_.num_kv_heads * sizes_.entries() * sizes_.columns()))
    {
        weigh(inputs);
    }

    std::vector<double> full_outputs() const override
    {
        const std::lock_guard<std::mutex> lock(mutex_);
        const auto n = static_cast<std::size_t>(sizes_.seq_len);
        std::vector<std::uint32_t> ranking(static_cast<std::size_t>(sizes_.num_kv_heads) * n);
        for (std::size_t i = 0; i < ranking.size(); ++i) {
            ranking[i] = static_cast<std::uint32_t>(i % n);
        }
        const HeadCounts everything(static_cast<std::size_t>(sizes_.num_kv_heads), {sizes_.seq_len});
        const Sweep sweep(*this, ranking.data(), everything);
        auto outputs = machine_.copy_out(sweep.kept);
        const auto masses = machine_.copy_out(sweep.kept_mass);
        for (std::size_t i = 0; i < outputs.size(); ++i) {
            outputs[i] /= masses[i / static_cast<std::size_t>(sizes_.head_dim)];
        }
        return outputs;
    }

    SetLosses losses(const SetRequest& request) const override
    {
        const SetCuts set_cuts(request.sets, sizes_.num_kv_heads);
        const std::lock_guard<std::mutex> lock(mutex_);
        const Sweep sweep(*this, request.ranking, set_cuts.counts);
        SetLosses losses;
        place_head_losses(sweep, set_cuts, losses);
        project(sweep, set_cuts.cut_of, losses);
        if (request.wants_differences) {
            place_differences(sweep, set_cuts, losses);
        }
        return losses;
    }

private:
    template <typename T> using Array = typename Machine::template Array<T>;

    /// The different cuts of every head, and which of them each set has.
    struct SetCuts
    {
        HeadCounts counts;
        std::vector<std::int32_t> cut_of; // [sets, num_kv_heads] into the head's counts

        SetCuts(const SetCounts& sets, std::int64_t num_kv_heads)
            : cut_of(sets.size() * static_cast<std::size_t>(num_kv_heads))
        {
            const auto heads = static_cast<std::size_t>(num_kv_heads);
            for (std::size_t head = 0; head < heads; ++head) {
                auto cuts = head_cuts(sets, head);
                for (std::size_t cut = 0; cut < cuts.sets.size(); ++cut) {
                    for (const auto set : cuts.sets[cut]) {
                        cut_of[set * heads + head] = static_cast<std::int32_t>(cut);
                    }
                }
                counts.push_back(std::move(cuts.counts));
            }
        }
    };

    /// One ranking of every head and its cuts: what is kept and evicted at each.
    struct Sweep
    {
        HostCuts cuts;
        Array<std::int64_t> cuts_of_head, ends, first_piece;
        Array<Piece> pieces;
        Array<std::uint32_t> order; // [num_kv_heads, entries]
        Array<float> sums; // [pieces, columns, head_dim]
        Array<double> masses; // [pieces, columns]
        Array<double> kept_mass, evicted_mass; // [num_kv_heads, most_cuts, columns]
        Array<double> kept; // [num_kv_heads, most_cuts, columns, head_dim]
        Array<float> differences; // [num_kv_heads, most_cuts, columns, head_dim]

        Sweep(const LayerLosses& layer, const std::uint32_t* ranking, const HeadCounts& counts)
            : cuts(layer.sizes_, counts)
            , cuts_of_head(layer.machine_.copy_in(cuts.cuts))
            , ends(layer.machine_.copy_in(cuts.ends))
            , first_piece(layer.machine_.copy_in(cuts.first_piece))
            , pieces(layer.machine_.copy_in(cuts.pieces))
            , order(layer.machine_.copy_in(layer.order_of(ranking)))
            , sums(layer.machine_.template make<float>(
                  size_of(cuts.pieces) * layer.sizes_.columns() * layer.sizes_.head_dim))
            , masses(layer.machine_.template make<double>(size_of(cuts.pieces) * layer.sizes_.columns()))
        {
            const auto& sizes = layer.sizes_;
            const auto& machine = layer.machine_;
            const auto rows = sizes.num_kv_heads * cuts.most_cuts * sizes.columns();
            kept_mass = machine.template make<double>(rows);
            evicted_mass = machine.template make<double>(rows);
            kept = machine.template make<double>(rows * sizes.head_dim);
            differences = machine.template make<float>(rows * sizes.head_dim);
            const CutTables tables{cuts.most_cuts, cuts_of_head.data(), ends.data(), pieces.data(), first_piece.data()};
            machine.launch(PieceSums{sizes, size_of(cuts.pieces), pieces.data(), order.data(), layer.weights_.data(),
                layer.values_.data(), sums.data(), masses.data()});
            machine.launch(CutMasses{sizes, tables, masses.data(), kept_mass.data(), evicted_mass.data()});
            const CutSums data{
                sizes, tables, sums.data(), kept_mass.data(), evicted_mass.data(), kept.data(), differences.data()};
            machine.launch(CutDifferences{data});
            machine.launch(VanishingDifferences{data, layer.logits_.data(), layer.values_.data(), order.data()});
        }
    };

    /// prompt [num_kv_heads, N, head_dim] and decode [num_kv_heads, T, head_dim] -> [num_kv_heads, entries, head_dim]
    Array<float> joined(const float* prompt, const float* decode) const
    {
        const auto of_prompt = sizes_.seq_len * sizes_.head_dim, of_decode = sizes_.steps * sizes_.head_dim;
        std::vector<float> rows;
        rows.reserve(static_cast<std::size_t>(sizes_.num_kv_heads * (of_prompt + of_decode)));
        for (std::int64_t head = 0; head < sizes_.num_kv_heads; ++head) {
            rows.insert(rows.end(), prompt + head * of_prompt, prompt + (head + 1) * of_prompt);
            rows.insert(rows.end(), decode + head * of_decode, decode + (head + 1) * of_decode);
        }
        return machine_.copy_in(rows);
    }

    void weigh(const LossInputs& inputs)
    {
        const auto keys = joined(inputs.k, inputs.k_eval);
        const auto columns = sizes_.num_kv_heads * sizes_.columns();
        const auto queries = machine_.copy_in(inputs.q_eval, columns * sizes_.head_dim);
        EntryLogits logits{sizes_, keys.data(), queries.data(), logits_.data(), nullptr};
        const auto tile_maxima = machine_.template make<double>(logits.tiles() * columns);
        const auto maxima = machine_.template make<double>(columns);
        logits.tile_maxima = tile_maxima.data();
        machine_.launch(logits);
        machine_.launch(
            ColumnMaxima{sizes_.num_kv_heads, logits.tiles(), sizes_.columns(), tile_maxima.data(), maxima.data()});
        machine_.launch(EntryWeights{sizes_, logits_.data(), maxima.data(), weights_.data()});
    }

    /// Decode entries, then the ranking, of each head: [num_kv_heads, entries].
    std::vector<std::uint32_t> order_of(const std::uint32_t* ranking) const
    {
        std::vector<std::uint32_t> order(static_cast<std::size_t>(sizes_.num_kv_heads * sizes_.entries()));
        auto* to = order.data();
        for (std::int64_t head = 0; head < sizes_.num_kv_heads; ++head) {
            std::iota(to, to + sizes_.steps, static_cast<std::uint32_t>(sizes_.seq_len));
            to = std::copy_n(ranking + head * sizes_.seq_len, sizes_.seq_len, to + sizes_.steps);
        }
        return order;
    }

    /// Calls place(to, from, count) with the first column of a set's KV head [sets, num_heads, T] and of the cut that
    /// it has [num_kv_heads, most_cuts, columns].
    template <typename Place> void for_each_cut_of(const Sweep& sweep, const SetCuts& cuts, const Place& place) const
    {
        const auto heads = sizes_.num_kv_heads, columns = sizes_.columns();
        for (std::size_t i = 0; i < cuts.cut_of.size(); ++i) {
            const auto at = static_cast<std::int64_t>(i);
            place(at * columns, (at % heads * sweep.cuts.most_cuts + cuts.cut_of[i]) * columns, columns);
        }
    }

    void place_head_losses(const Sweep& sweep, const SetCuts& cuts, SetLosses& losses) const
    {
        const auto rows = sizes_.num_kv_heads * sweep.cuts.most_cuts * sizes_.columns();
        const auto l1 = machine_.template make<double>(rows), l2 = machine_.template make<double>(rows);
        machine_.launch(DifferenceNorms{rows, sizes_.head_dim, sweep.differences.data(), l1.data(), l2.data()});
        const auto of_l1 = machine_.copy_out(l1), of_l2 = machine_.copy_out(l2);
        const auto evicted = machine_.copy_out(sweep.evicted_mass), kept = machine_.copy_out(sweep.kept_mass);
        const auto size = cuts.cut_of.size() * static_cast<std::size_t>(sizes_.columns());
        losses.evicted_share.resize(size);
        losses.head_output_l1.resize(size);
        losses.head_output_l2.resize(size);
        for_each_cut_of(sweep, cuts, [&](std::int64_t to, std::int64_t from, std::int64_t count) {
            for (std::int64_t i = 0; i < count; ++i) {
                const auto at = static_cast<std::size_t>(to + i), of = static_cast<std::size_t>(from + i);
                losses.evicted_share[at] = evicted[of] / (evicted[of] + kept[of]);
                losses.head_output_l1[at] = static_cast<float>(of_l1[of]);
                losses.head_output_l2[at] = static_cast<float>(of_l2[of]);
            }
        });
    }

    void place_differences(const Sweep& sweep, const SetCuts& cuts, SetLosses& losses) const
    {
        const auto dim = sizes_.head_dim, steps = sizes_.steps;
        const auto differences = machine_.copy_out(sweep.differences);
        losses.head_stride = dim;
        losses.row_stride = sizes_.num_heads * dim;
        losses.differences.reset(new float[cuts.cut_of.size() * static_cast<std::size_t>(sizes_.columns() * dim)]);
        for_each_cut_of(sweep, cuts, [&](std::int64_t to, std::int64_t from, std::int64_t count) {
            for (std::int64_t i = 0; i < count; ++i) { // to + i: [sets, num_heads, T]
                const auto step = (to + i) % steps, head = (to + i) / steps % sizes_.num_heads;
                const auto set = (to + i) / steps / sizes_.num_heads;
                std::copy_n(differences.data() + (from + i) * dim, dim,
                    losses.differences.get() + (set * steps + step) * losses.row_stride + head * dim);
            }
        });
    }

    /// Norms of what the heads' differences add up to in the residual stream.
    void project(const Sweep& sweep, const std::vector<std::int32_t>& cuts, SetLosses& losses) const
    {
        const auto sets = size_of(cuts) / sizes_.num_kv_heads;
        const auto cut_of = machine_.copy_in(cuts);
        ProductNorms product{
            sizes_, sets, sweep.cuts.most_cuts, cut_of.data(), sweep.differences.data(), w_o_.data(), nullptr, nullptr};
        const auto of_tiles = product.column_tiles() * product.rows();
        const auto magnitudes = machine_.template make<double>(of_tiles);
        const auto squares = machine_.template make<double>(of_tiles);
        product.magnitudes = magnitudes.data();
        product.squares = squares.data();
        machine_.launch(product);
        const auto l1 = machine_.template make<double>(product.rows()),
                   l2 = machine_.template make<double>(product.rows());
        machine_.launch(
            RowNorms{product.rows(), product.column_tiles(), magnitudes.data(), squares.data(), l1.data(), l2.data()});
        losses.attn_out_l1 = machine_.copy_out(l1);
        losses.attn_out_l2 = machine_.copy_out(l2);
    }

    mutable std::mutex mutex_;
    Machine machine_;
    Sizes sizes_;
    Array<float> values_; // [num_kv_heads, entries, head_dim]
    Array<float> w_o_;
    Array<double> logits_; // [num_kv_heads, entries, columns]
    Array<float> weights_; // [num_kv_heads, entries, columns]
};

} // namespace lava::cuda
