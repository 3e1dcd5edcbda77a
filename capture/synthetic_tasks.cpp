#include "capture/synthetic_tasks.h"

#include "base/error.h"
#include "base/formatted.h"
#include "base/split_mix.h"
#include "capture/haystack.h"
#include "capture/task_words.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace lava {

namespace {

constexpr std::array tasks = {
    TaskInfo{"needle-noise", "a number in repeated sentences, asked for"},
    TaskInfo{"needle-book", "a number in a book, asked for"},
    TaskInfo{"needle-keys", "four numbers in a book, one asked for"},
    TaskInfo{"needle-values", "three numbers of one place in a book, all asked for"},
    TaskInfo{"needle-queries", "four numbers in a book, two asked for"},
    TaskInfo{"variables", "a chain of variables in noise: all that have the first one's value"},
    TaskInfo{"common-words", "the three words of a list that come far more often than the others"},
};

/// Random numbers that are the same on any machine.
class Random
{
public:
    explicit Random(std::uint64_t seed)
        : state_(seed)
    { }

    std::uint64_t next()
    {
        state_ += split_mix_increment;
        return split_mix(state_);
    }

    std::size_t below(std::size_t count) { return static_cast<std::size_t>(next() % count); }

    /// `count` different numbers below `limit`, in random order.
    std::vector<std::size_t> choose(std::size_t count, std::size_t limit)
    {
        std::vector<std::size_t> all(limit);
        for (std::size_t i = 0; i < limit; ++i) {
            all[i] = i;
        }
        for (std::size_t i = 0; i < count; ++i) {
            std::swap(all[i], all[i + below(limit - i)]);
        }
        all.resize(count);
        return all;
    }

private:
    std::uint64_t state_;
};

/// A text that grows sentence by sentence, in which other sentences are planted at given depths.
struct Composition
{
    std::string opening;
    std::vector<std::string> sentences; ///< the haystack; as many as fit are used, again from the first where they end
    std::vector<std::string> planted;
    std::vector<double> depths; ///< of each planted sentence, 0 to 1
    std::string question;
    std::string answer_prefix;
    std::string reference;
};

std::int64_t characters(std::string_view text)
{
    return std::count_if(
        text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

void append_spanned(TaskPrompt& task, const std::string& text, const std::string& name)
{
    const std::int64_t begin = characters(task.prompt);
    task.prompt += text;
    task.spans.push_back({name, begin, begin + characters(text)});
}

TaskPrompt compose(const Composition& parts, std::size_t count)
{
    TaskPrompt task;
    task.answer_prefix = parts.answer_prefix;
    task.reference = parts.reference;
    task.prompt = parts.opening;
    const auto plant = [&](std::size_t before) {
        for (std::size_t i = 0; i < parts.planted.size(); ++i) {
            const auto place = static_cast<std::size_t>(parts.depths[i] * static_cast<double>(count));
            if (place == before) {
                append_spanned(task, parts.planted[i], i == 0 ? "needle" : formatted("needle_{}", i + 1));
                task.prompt += ' ';
            }
        }
    };
    for (std::size_t i = 0; i < count; ++i) {
        plant(i);
        task.prompt += parts.sentences[i % parts.sentences.size()] + ' ';
    }
    plant(count);
    task.prompt.back() = '\n';
    task.prompt += '\n';
    append_spanned(task, parts.question, "question");
    return task;
}

/// The longest composition that fits.
TaskPrompt fit(const Composition& parts, const TaskRequest& request)
{
    std::size_t fits = 0;
    std::size_t too_many = static_cast<std::size_t>(request.tokens) + 1; // a sentence is more than a token
    while (too_many - fits > 1) {
        const std::size_t middle = fits + (too_many - fits) / 2;
        (request.count(compose(parts, middle)) <= request.tokens ? fits : too_many) = middle;
    }
    TaskPrompt task = compose(parts, fits);
    if (fits == 0) {
        throw Error(formatted("{}: expected room for at least one sentence beside the task, found {} tokens; the "
                              "shortest prompt takes {}",
            request.task, request.tokens, request.count(compose(parts, 1))));
    }
    task.id = formatted("{}-{}", request.task, request.sample);
    return task;
}

std::vector<std::string> book_sentences(const TaskRequest& request, Random& random)
{
    std::string text;
    for (const char c : request.book) { // line breaks of a book mean nothing
        const bool space = std::isspace(static_cast<unsigned char>(c)) != 0;
        if (!space || (!text.empty() && text.back() != ' ')) {
            text += space ? ' ' : c;
        }
    }
    std::vector<std::string> sentences;
    std::size_t begin = 0;
    for (const std::size_t end : sentence_ends(text)) {
        sentences.push_back(text.substr(begin, end - begin));
        begin = std::min(end + 1, text.size());
    }
    if (sentences.empty()) {
        throw Error(request.task + ": expected a book to hide the needle in, found no sentence");
    }
    std::rotate(sentences.begin(), sentences.begin() + static_cast<std::ptrdiff_t>(random.below(sentences.size())),
        sentences.end());
    return sentences;
}

std::vector<std::string> noise_sentences()
{
    return {task_noise.begin(), task_noise.end()};
}

/// Different places, such as "amber-lantern".
std::vector<std::string> places(Random& random, std::size_t count)
{
    const auto adjectives = random.choose(count, task_adjectives.size());
    const auto nouns = random.choose(count, task_nouns.size());
    std::vector<std::string> result;
    for (std::size_t i = 0; i < count; ++i) {
        result.push_back(std::string(task_adjectives[adjectives[i]]) + "-" + std::string(task_nouns[nouns[i]]));
    }
    return result;
}

std::string number(Random& random)
{
    return std::to_string(10000 + random.below(90000));
}

std::vector<double> random_depths(Random& random, std::size_t count)
{
    std::vector<double> depths;
    for (std::size_t i = 0; i < count; ++i) {
        depths.push_back(static_cast<double>(random.below(1000)) / 1000);
    }
    return depths;
}

Composition text_with_numbers(std::vector<std::string> sentences)
{
    Composition parts;
    parts.opening = "Secret numbers are hidden in the following text. Memorize them. You will be asked about them "
                    "afterwards.\n\n";
    parts.sentences = std::move(sentences);
    return parts;
}

/// Plants a number for each place; returns the numbers.
std::vector<std::string> plant_numbers(Composition& parts, Random& random, const std::vector<std::string>& names)
{
    std::vector<std::string> numbers;
    for (const auto& name : names) {
        numbers.push_back(number(random));
        parts.planted.push_back("One of the secret numbers of " + name + " is: " + numbers.back() + ".");
    }
    parts.depths = random_depths(random, names.size());
    return numbers;
}

/// Numbers of `count` places, of which the first is asked for.
Composition one_question(Random& random, std::vector<std::string> sentences, std::size_t count)
{
    Composition parts = text_with_numbers(std::move(sentences));
    const auto names = places(random, count);
    const auto numbers = plant_numbers(parts, random, names);
    parts.question = "What is the secret number of " + names[0] + " in the text above?";
    parts.answer_prefix = "The secret number of " + names[0] + " in the text above is";
    parts.reference = " " + numbers[0] + ".";
    return parts;
}

Composition two_questions(Random& random, std::vector<std::string> sentences)
{
    Composition parts = text_with_numbers(std::move(sentences));
    const auto names = places(random, 4);
    const auto numbers = plant_numbers(parts, random, names);
    parts.question = "What are the secret numbers of " + names[0] + " and of " + names[1] + " in the text above?";
    parts.answer_prefix = "The secret number of " + names[0] + " in the text above is";
    parts.reference = " " + numbers[0] + ", and the secret number of " + names[1] + " is " + numbers[1] + ".";
    return parts;
}

Composition several_values(Random& random, std::vector<std::string> sentences)
{
    Composition parts = text_with_numbers(std::move(sentences));
    const auto place = places(random, 1).front();
    std::vector<std::string> numbers;
    for (int i = 0; i < 3; ++i) {
        numbers.push_back(number(random));
        parts.planted.push_back("One of the secret numbers of " + place + " is: " + numbers.back() + ".");
    }
    parts.depths = random_depths(random, 3);
    std::sort(parts.depths.begin(), parts.depths.end()); // the answer names them in the text's order
    parts.question = "What are all the secret numbers of " + place + " in the text above, in its order?";
    parts.answer_prefix = "The secret numbers of " + place + " in the text above are";
    parts.reference = " " + numbers[0] + ", " + numbers[1] + " and " + numbers[2] + ".";
    return parts;
}

Composition variable_chain(Random& random)
{
    constexpr std::size_t length = 4;
    Composition parts;
    parts.opening = "Keep track of the values of the variables in the text.\n\n";
    parts.sentences = noise_sentences();
    std::vector<std::string> names;
    for (const auto index : random.choose(length, 26 * 26)) {
        names.push_back(std::string{'V', static_cast<char>('A' + index / 26), static_cast<char>('A' + index % 26)});
    }
    const auto value = number(random);
    parts.planted.push_back("VAR " + names[0] + " = " + value + ".");
    for (std::size_t i = 1; i < length; ++i) {
        parts.planted.push_back("VAR " + names[i] + " = VAR " + names[i - 1] + ".");
    }
    parts.depths = random_depths(random, length);
    std::sort(parts.depths.begin(), parts.depths.end());
    parts.question = "Which variables have the value " + value + "? List all four of them, in the order of the text.";
    parts.answer_prefix = "The variables with the value " + value + " are";
    for (std::size_t i = 0; i < length; ++i) {
        parts.reference += (i == 0 ? " " : i + 1 == length ? " and " : ", ") + names[i];
    }
    parts.reference += ".";
    return parts;
}

Composition common_words(Random& random)
{
    constexpr std::size_t common = 3;
    constexpr std::size_t others = 12; // in a line, each of them before a common word
    const auto chosen = random.choose(task_list_words.size(), task_list_words.size());
    Composition parts;
    parts.opening = "Below is a list of words. A few of them come far more often than the others.\n\n";
    for (std::size_t begin = common; begin + others <= task_list_words.size(); begin += others) {
        std::string line;
        for (const auto word : random.choose(others, others)) {
            line += line.empty() ? "" : " ";
            line += std::string(task_list_words[chosen[begin + word]]) + " ";
            line += task_list_words[chosen[word % common]];
        }
        parts.sentences.push_back(line);
    }
    std::vector<std::string> names;
    for (std::size_t i = 0; i < common; ++i) {
        names.emplace_back(task_list_words[chosen[i]]);
    }
    std::sort(names.begin(), names.end());
    parts.question = "Which three words come most often in the list? Name them in alphabetical order.";
    parts.answer_prefix = "The three most common words are";
    parts.reference = " " + names[0] + ", " + names[1] + " and " + names[2] + ".";
    return parts;
}

Composition parts_of(const TaskRequest& request, Random& random)
{
    if (request.task == "needle-noise") {
        return one_question(random, noise_sentences(), 1);
    }
    if (request.task == "variables") {
        return variable_chain(random);
    }
    if (request.task == "common-words") {
        return common_words(random);
    }
    auto sentences = book_sentences(request, random);
    if (request.task == "needle-values") {
        return several_values(random, std::move(sentences));
    }
    if (request.task == "needle-queries") {
        return two_questions(random, std::move(sentences));
    }
    return one_question(random, std::move(sentences), request.task == "needle-keys" ? 4 : 1);
}

} // namespace

std::span<const TaskInfo> synthetic_tasks()
{
    return tasks;
}

TaskPrompt make_task(const TaskRequest& request)
{
    const auto found
        = std::find_if(tasks.begin(), tasks.end(), [&](const TaskInfo& task) { return task.name == request.task; });
    if (found == tasks.end()) {
        std::string known;
        for (const auto& task : tasks) {
            known += (known.empty() ? "" : ", ") + std::string(task.name);
        }
        throw UsageError("--task: unknown task '" + request.task + "'; known: " + known);
    }
    // every task and sample has numbers of its own, whatever else is asked for
    Random streams(request.seed);
    std::uint64_t stream = streams.next() + static_cast<std::uint64_t>(found - tasks.begin()) * 0x632be59bd9b4e019ULL;
    stream += static_cast<std::uint64_t>(request.sample) * 0xd1342543de82ef95ULL;
    Random random(stream);
    return fit(parts_of(request, random), request);
}

} // namespace lava
