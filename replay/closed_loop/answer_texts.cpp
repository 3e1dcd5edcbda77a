#include "replay/closed_loop/answer_texts.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <span>

namespace lava {

namespace {

using Ids = std::vector<std::int64_t>;

/// The text of one answer; ids that are no tokens, as of a padded vocabulary, have none.
std::string text_of(const OfficialDecoder& decode, std::span<const std::int64_t> answer)
{
    Ids ids;
    const auto vocab = decode.tokenizer().vocab_size();
    std::copy_if(
        answer.begin(), answer.end(), std::back_inserter(ids), [vocab](auto id) { return id >= 0 && id < vocab; });
    return decode(ids);
}

} // namespace

void name_tokens(const Tokenizer& tokenizer, ReplayReport& report)
{
    auto& dense = report.closed_loop;
    std::set<std::int64_t> ids;
    const auto add = [&](const Ids& more) { ids.insert(more.begin(), more.end()); };
    add(dense.input_ids);
    add(dense.top_ids);
    add(dense.generated_ids);
    add({dense.next_id});
    for (const auto& policy : report.policies) {
        add(policy.closed_loop.top_ids);
        add(policy.closed_loop.generated_ids);
    }
    ids.erase(-1); // unknown, or behind an answer's end
    dense.token_ids.assign(ids.begin(), ids.end());
    dense.token_texts.clear();
    for (const auto id : ids)
        dense.token_texts.push_back(tokenizer.token_bytes(id));
}

void decode_answers(const OfficialDecoder& decode, ReplayReport& report)
{
    auto& dense = report.closed_loop;
    const auto length = dense.generated_ids.size();
    if (length == 0)
        return;
    dense.generated_text = text_of(decode, dense.generated_ids);
    for (auto& policy : report.policies) {
        auto& replay = policy.closed_loop;
        replay.generated_texts.clear();
        for (std::size_t g = 0; g < policy.budgets.size(); ++g)
            replay.generated_texts.push_back(
                text_of(decode, std::span(replay.generated_ids).subspan(g * length, length)));
    }
}

} // namespace lava
