#include "analysis/metrics/word_overlap.h"

#include <algorithm>
#include <map>

namespace lava {

namespace {

/// The articles as words of their own, in the sense of \b.
Characters without_articles(CharactersView text)
{
    Characters result;
    for (std::size_t begin = 0; begin < text.size();) {
        std::size_t end = begin;
        while (end < text.size() && is_word(text[end]))
            ++end;
        const CharactersView word = text.substr(begin, end - begin);
        if (word == U"a" || word == U"an" || word == U"the")
            result += U' ';
        else
            result += word;
        if (end < text.size())
            result += text[end];
        begin = end + 1;
    }
    return result;
}

bool is_chinese_punctuation(char32_t c)
{
    constexpr CharactersView others
        = U"！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖"
          U"〗〘〙〚〛〜〝〞〟〰〾〿–—‘’‛“”„‟…‧﹏";
    return others.find(c) != CharactersView::npos;
}

} // namespace

std::vector<Characters> normal_words(CharactersView text)
{
    Characters kept = lower(text);
    std::erase_if(kept, is_ascii_punctuation);
    return words_of(without_articles(kept));
}

Characters normal_chinese(CharactersView text)
{
    Characters kept = lower(text);
    std::erase_if(kept, [](char32_t c) { return is_ascii_punctuation(c) || is_chinese_punctuation(c) || is_space(c); });
    return kept;
}

double f1(const std::vector<Characters>& prediction, const std::vector<Characters>& truth)
{
    std::map<Characters, int> left;
    for (const Characters& token : truth)
        ++left[token];
    const auto same = static_cast<double>(std::ranges::count_if(prediction, [&](const Characters& token) {
        const auto found = left.find(token);
        return found != left.end() && found->second-- > 0;
    }));
    if (same == 0)
        return 0;
    const double precision = same / static_cast<double>(prediction.size());
    const double recall = same / static_cast<double>(truth.size());
    return 2 * precision * recall / (precision + recall);
}

} // namespace lava
