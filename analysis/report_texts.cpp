#include "analysis/report_texts.h"

#include "base/formatted.h"

namespace lava {

void write_ids(const h5::Group& group, const std::string& name, const std::vector<std::int64_t>& ids)
{
    if (!ids.empty())
        group.write(name, {static_cast<std::int64_t>(ids.size())}, ids, packed);
}

std::vector<std::int64_t> read_ids(const h5::Group& group, const std::string& name)
{
    return group.has(name) ? group.read<std::int64_t>(name, {-1}) : std::vector<std::int64_t>{};
}

void write_texts(const h5::Group& group, const std::string& name, const std::vector<std::string>& texts)
{
    if (texts.empty())
        return;
    std::vector<std::uint8_t> bytes;
    std::vector<std::int64_t> ends;
    for (const std::string& text : texts) {
        bytes.insert(bytes.end(), text.begin(), text.end());
        ends.push_back(static_cast<std::int64_t>(bytes.size()));
    }
    group.write(name + "_bytes", {static_cast<std::int64_t>(bytes.size())}, bytes, packed);
    group.write(name + "_ends", {static_cast<std::int64_t>(ends.size())}, ends, packed);
}

std::vector<std::string> read_texts(const h5::Group& group, const std::string& name)
{
    if (!group.has(name + "_ends"))
        return {};
    const auto bytes = group.read<std::uint8_t>(name + "_bytes", {-1});
    const auto ends = group.read<std::int64_t>(name + "_ends", {-1});
    const auto size = static_cast<std::int64_t>(bytes.size());
    std::vector<std::string> texts;
    std::int64_t begin = 0;
    for (const std::int64_t end : ends) {
        if (end < begin || end > size)
            group.fail(name + "_ends", formatted("expected ascending ends up to {}, found {}", size, end));
        texts.emplace_back(bytes.begin() + begin, bytes.begin() + end);
        begin = end;
    }
    return texts;
}

} // namespace lava
