#include "capture/benchmarks/benchmark_prompts.h"

#include "capture/benchmarks/sample_encoder.h"
#include "capture/jobs.h"
#include "tests/capture/byte_tokenizer.h"
#include "tests/temporary_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>

namespace lava {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using Ids = std::vector<std::int64_t>;

const ByteTokenizer byte_tokenizer;

std::string text_of(const Ids& ids)
{
    std::string text;
    for (const std::int64_t id : ids) {
        text += byte_tokenizer.token_bytes(id);
    }
    return text;
}

/// Each span as NAME=TEXT.
std::vector<std::string> spans_of(const EncodedSample& encoded)
{
    std::vector<std::string> spans;
    for (const Span& span : encoded.spans) {
        spans.push_back(span.name + "=" + text_of({encoded.ids.begin() + span.begin, encoded.ids.begin() + span.end}));
    }
    return spans;
}

class BenchmarkPrompts : public testing::Test
{
protected:
    std::filesystem::path write(const std::string& name, const std::string& text) const
    {
        std::ofstream(folder_ / name, std::ios::binary) << text;
        return folder_ / name;
    }

    std::vector<Sample> samples(SampleRequest request) const { return make_samples(request, decoder_); }

    std::vector<Sample> samples(const std::string& benchmark, const std::string& name, const std::string& text,
        const char* variant = "official")
    {
        SampleRequest request;
        request.benchmark = benchmark;
        request.variant = variant;
        request.records = {write(name, text)};
        return samples(request);
    }

    EncodedSample encode(const Sample& sample, std::optional<std::int64_t> max_length = {},
        std::optional<std::int64_t> context_length = {}) const
    {
        return SampleEncoder(decoder_, folder_.path(), max_length, context_length).encode(sample);
    }

    std::string refusal(const std::string& benchmark, const std::string& name, const std::string& text)
    {
        try {
            samples(benchmark, name, text);
        } catch (const Error& error) {
            const std::string message = error.what();
            return message.substr(message.find(name));
        }
        return "none";
    }

    TemporaryFolder folder_;
    OfficialDecoder decoder_{byte_tokenizer, folder_.path()};
};

constexpr const char* trec = R"({"input": "Question: Who ?\nType:", "context": "Question: Where ?\nType: Place", )"
                             R"("answers": ["Place"], "all_classes": ["Person", "Place"], "dataset": "trec"})";
constexpr const char* hotpot
    = R"({"input": "Who?", "context": "Ann is here.", "answers": ["Ann"], "all_classes": null, "dataset": "hotpotqa"})";

TEST_F(BenchmarkPrompts, OfLongBenchAreItsTemplateInTheChatTemplate)
{
    const auto sample = samples("longbench", "h.jsonl", hotpot).at(0);
    const auto encoded = encode(sample);
    EXPECT_EQ(text_of(encoded.ids),
        "<s><user>Answer the question based on the given passages. Only give me the answer and do not output any other "
        "words.\n\nThe following are given passages.\nAnn is here.\n\nAnswer the question based on the given passages. "
        "Only give me the answer and do not output any other words.\n\nQuestion: Who?\nAnswer:</user>");
    EXPECT_THAT(spans_of(encoded), testing::ElementsAre("context=Ann is here.", "question=Who?", "answer=Ann"));
    EXPECT_EQ(sample.max_new_tokens, 32);
    EXPECT_EQ(sample.metric, "qa_f1");
    EXPECT_EQ(sample.answers, (std::vector<std::string>{"Ann"}));
}

TEST_F(BenchmarkPrompts, OfFewShotTasksAreNoChat)
{
    const auto sample = samples("longbench", "t.jsonl", trec).at(0);
    EXPECT_EQ(text_of(encode(sample).ids),
        "<s>Please determine the type of the question below. Here are some examples of questions.\n\nQuestion: Where "
        "?\nType: Place\nQuestion: Who ?\nType:");
    EXPECT_EQ(sample.all_classes, (std::vector<std::string>{"Person", "Place"}));
    EXPECT_EQ(sample.metric, "classification");
}

TEST_F(BenchmarkPrompts, OfLongBenchMayHaveTemplatesAndLengthsOfOnesOwn)
{
    SampleRequest request;
    request.benchmark = "longbench";
    request.records = {write("h.jsonl", hotpot)};
    request.config = folder_.path();
    write("dataset2prompt.json", R"({"hotpotqa": "{{}} {input} of {context}"})");
    write("dataset2maxlen.json", R"({"hotpotqa": 5})");
    const auto sample = samples(request).at(0);
    EXPECT_EQ(sample.text, "{} Who? of Ann is here.");
    EXPECT_EQ(sample.max_new_tokens, 5);
    EXPECT_THAT(
        spans_of(encode(sample)), testing::UnorderedElementsAre("context=Ann is here.", "question=Who?", "answer=Ann"));
    write("dataset2prompt.json", R"({"hotpotqa": "{question}"})");
    EXPECT_THAT(
        [&] { samples(request); }, ThrowsMessage<Error>(HasSubstr("the template's field {question} is not known")));
    write("dataset2prompt.json", "{}");
    EXPECT_THAT([&] { samples(request); },
        ThrowsMessage<Error>(HasSubstr("dataset2prompt.json: hotpotqa: expected a template, found none")));
}

TEST_F(BenchmarkPrompts, SayWhereAnAnswerStandsAsWordsOfItsOwn)
{
    Sample sample;
    sample.text = "bookkeeper, book. \u5728\u5317\u4eac\u3002";
    sample.ranges = {{"context", {0, sample.text.size()}}};
    sample.places = {"book", "\u5317\u4eac", "keep"};
    const auto encoded = encode(sample);
    ASSERT_THAT(
        spans_of(encoded), testing::ElementsAre("context=" + sample.text, "answer=book", "answer_2=\u5317\u4eac"));
    EXPECT_EQ(encoded.spans[1].begin, 13) << "the token in front and 12 letters";
}

TEST_F(BenchmarkPrompts, OfLongBenchLoseTheirMiddle)
{
    Sample sample;
    sample.text = "0123456789abcdefghij";
    sample.ranges = {{"context", {2, 18}}, {"needle", {8, 12}}, {"question", {18, 20}}};
    sample.places = {"h"};
    sample.cut = Cut::halves;
    EXPECT_EQ(encode(sample, 21).uncut_tokens, 0) << "it fits";
    const auto cut = encode(sample, 9); // 4 tokens of each end, the first of them <s>
    EXPECT_EQ(text_of(cut.ids), "<s>012ghij");
    EXPECT_EQ(cut.uncut_tokens, 21);
    EXPECT_THAT(spans_of(cut), testing::ElementsAre("context=2gh", "question=ij"));
}

TEST_F(BenchmarkPrompts, OfInfiniteBenchAreDecodedEvenWhereTheyFit)
{
    std::ofstream(folder_ / "tokenizer_config.json") << R"({"clean_up_tokenization_spaces": true})";
    const OfficialDecoder decoder(byte_tokenizer, folder_.path());
    Sample sample;
    sample.text = "Yes , I do n't . 12";
    sample.ranges = {{"question", {17, 19}}};
    for (const auto& [cut, text] :
        {std::pair(Cut::halves, "<s>Yes , I do n't . 12"), {Cut::joined_halves, "<s>Yes, I don't. 12"}}) {
        sample.cut = cut;
        const auto encoded = SampleEncoder(decoder, folder_.path(), 50, {}).encode(sample);
        EXPECT_EQ(text_of(encoded.ids), text);
        EXPECT_THAT(spans_of(encoded), testing::ElementsAre("question=12"));
    }
}

TEST_F(BenchmarkPrompts, ACharacterThatIsCutApartIsReplaced)
{
    Sample sample;
    sample.text = "a\u20acbcdefgh\u20acz";
    sample.ranges = {{"question", {sample.text.size() - 1, sample.text.size()}}};
    sample.cut = Cut::halves;
    const auto encoded = encode(sample, 6); // <s> a e2 and 82 ac z
    EXPECT_EQ(text_of(encoded.ids), "<s>a\ufffd\ufffd\ufffdz");
    EXPECT_THAT(spans_of(encoded), testing::ElementsAre("question=z"));
}

TEST_F(BenchmarkPrompts, OfKvpressAreContextThenQuestionAndAnswerPrefix)
{
    const auto sample = samples("longbench", "t.jsonl", trec, "kvpress").at(0);
    const auto encoded = encode(sample);
    EXPECT_THAT(text_of(encoded.ids), testing::EndsWith("Place\nQuestion: Who ?\n</user>Type:"));
    EXPECT_THAT(text_of(encoded.ids), testing::StartsWith("<user>Please"));
    EXPECT_EQ(encoded.spans.at(0).name, "context");
    EXPECT_EQ(sample.max_new_tokens, 84) << "20 more than LongBench";
    const auto cut = encode(sample, 12);
    EXPECT_EQ(text_of(cut.ids), "<user>PleaseQuestion: Who ?\n</user>Type:");
    EXPECT_THAT(spans_of(cut), testing::ElementsAre("context=<user>Please", "question=Question: Who ?\n"));
}

constexpr const char* niah
    = R"("input": "A special magic number is hidden within the following text. Go.\nX. One of the special magic )"
      R"(numbers for a is: 7. Y.\nWhat is the special magic number for a mentioned in the provided text?)";
constexpr const char* niah_prefix = " The special magic number for a mentioned in the provided text is";

TEST_F(BenchmarkPrompts, OfRulerAreTheSameInBothFormats)
{
    const std::string former = std::string("{\"index\": 0, ") + niah + niah_prefix + "\", \"outputs\": [\"7\"]}";
    const std::string current = std::string("{\"index\": 99, ") + niah + "\", \"answer_prefix\": \"" + niah_prefix
        + "\", \"outputs\": [\"7\"]}";
    const auto a = samples("ruler", "niah_single_1.jsonl", former + "\n" + current);
    const auto encoded = encode(a.at(0));
    EXPECT_EQ(encoded.ids, encode(a.at(1)).ids);
    EXPECT_THAT(text_of(encoded.ids), testing::EndsWith(std::string("text?") + niah_prefix));
    EXPECT_EQ(encoded.chat, false);
    EXPECT_THAT(spans_of(encoded), testing::Contains("needle=One of the special magic numbers for a is: 7."));
    EXPECT_THAT(spans_of(encoded), testing::Contains("answer=7"));
    EXPECT_EQ(a.at(1).line, 2u);
    EXPECT_EQ(a.at(1).max_new_tokens, 128);
    EXPECT_EQ(a.at(1).metric, "string_match_all");
}

TEST_F(BenchmarkPrompts, OfRulerAreRefusedWhereTheyAreNotWhatTheBenchmarkAsks)
{
    const std::string prefix = R"({"outputs": ["7"], "input": ")";
    EXPECT_THAT(refusal("ruler", "vt.jsonl", prefix + "<|im_start|>user Memorize\"}"),
        HasSubstr("vt.jsonl: line 1: input: expected a text that begins \"Memorize and track the chain(s)"));
    EXPECT_THAT(refusal("ruler", "niah_single_1.jsonl", prefix + "A special magic number is hidden.\"}"),
        HasSubstr("line 1: input: expected RULER's question"));
    EXPECT_THAT(refusal("ruler", "niah_single_1.jsonl", std::string("{\"outputs\": [\"7\"], ") + niah + "\"}"),
        HasSubstr(
            "line 1: expected the answer prefix (\"The special magic \") in answer_prefix or at the end of input"));
    EXPECT_THAT(refusal("ruler", "mine.jsonl", prefix + "A\"}"), HasSubstr("or --task, found neither"));
}

TEST_F(BenchmarkPrompts, OfInfiniteBenchAreItsTemplates)
{
    const std::string choice
        = R"({"id": 1, "context": "Book.", "input": "Q?", "answer": ["two"], "options": ["one", "two", "three", "four"]})";
    const auto sample = samples("infinitebench", "longbook_choice_eng.jsonl", choice).at(0);
    EXPECT_EQ(text_of(encode(sample).ids),
        "<s>Read the book and answer the question.\n\nBook.\n\nQuestion: Q?\nA. one\nB. two\nC. three\nD. four\n\nThe "
        "letter of the correct answer is");
    EXPECT_EQ(sample.answers, (std::vector<std::string>{"two", "B"}));
    EXPECT_EQ(sample.metric, "infinitebench_longbook_choice_eng");
    const std::string run = R"({"context": "def", "input": "Compute func_3(-12) now", "answer": ["4"], "options": []})";
    EXPECT_THAT(text_of(encode(samples("infinitebench", "code_run.jsonl", run).at(0)).ids),
        testing::EndsWith("compute the exact value of func_3(-12). The value of func_3(-12) is"));
    const std::string find
        = R"({"context": "[1]", "input": "The largest number of the list is:", "answer": ["1"], "options": []})";
    EXPECT_EQ(text_of(encode(samples("infinitebench", "math_find.jsonl", find).at(0)).ids),
        "<s>What is the largest number in the following list?\n\n[1]\n\nThe largest number of the list is:");
}

TEST_F(BenchmarkPrompts, OfKvRetrievalHaveThePairThatIsAskedForAtTheGoldIndex)
{
    SampleRequest request;
    request.benchmark = "kv-retrieval";
    request.records = {
        write("kv.jsonl", R"({"ordered_kv_records": [["a", "1"], ["b", "2"], ["c", "3"]], "key": "c", "value": "3"})")};
    request.gold_index = 0;
    const auto sample = samples(request).at(0);
    EXPECT_THAT(text_of(encode(sample).ids),
        testing::EndsWith(
            "JSON data:\n{\"c\": \"3\",\n \"a\": \"1\",\n \"b\": \"2\"}\n\nKey: \"c\"\nCorresponding value:"));
    EXPECT_THAT(spans_of(encode(sample)), testing::Contains("needle=\"c\": \"3\""));
    request.gold_index = 3;
    EXPECT_THAT(
        [&] { samples(request); }, ThrowsMessage<Error>(HasSubstr("line 1: --gold-index 3: expected one of its 3")));
}

TEST_F(BenchmarkPrompts, OfANeedleHaveItBehindASentence)
{
    SampleRequest request;
    request.benchmark = "needle";
    request.records = {write("book.txt", "One two. Three four. Five six. ")};
    request.lengths = {240};
    request.depths = {0, 50, 100};
    request.needle = " It is 7.";
    const auto three = samples(request);
    ASSERT_EQ(three.size(), 3u);
    EXPECT_EQ(three[1].id_suffix, "240-50");
    EXPECT_THAT(three[0].text, testing::StartsWith("<|im_start|> This is a very long story book: <book>  It is 7.One"));
    // 31 bytes of the haystack are left: half of them is 15, and the last full stop before it the first one
    EXPECT_THAT(three[1].text, HasSubstr("<book> One two. It is 7. Three four."));
    EXPECT_THAT(
        three[2].text, HasSubstr("Five six.  It is 7. </book>.\n Based on the content of the book, Question: "));
    EXPECT_TRUE(three[0].newline_stops);
    EXPECT_THAT(spans_of(encode(three[1])), testing::Contains("needle=It is 7."));
    request.lengths = {200};
    EXPECT_THAT(
        [&] { samples(request); }, ThrowsMessage<Error>(HasSubstr("--lengths 200: expected room for the needle")));
}

TEST_F(BenchmarkPrompts, OfANeedleWhoseWordsTheTextHasTooMarkThePlantedOnes)
{
    SampleRequest request;
    request.benchmark = "needle";
    request.records = {write("book.txt", "A river. Two. Six. ")};
    request.lengths = {300};
    request.depths = {100};
    request.needle = " river.";
    request.question = "Where?";
    const Sample one = samples(request).front();
    const auto range = std::ranges::find(one.ranges, "needle", &TextRange::name);
    ASSERT_NE(range, one.ranges.end());
    EXPECT_NE(one.text.find("river."), one.text.rfind("river."));
    EXPECT_EQ(range->bytes.begin, one.text.rfind("river."));
}

/// Two letters a token, as where copies merge; nothing for a line end.
class PairTokenizer : public ByteTokenizer
{
public:
    Encoding encode(std::string_view text, bool) const override
    {
        Encoding encoding;
        for (std::size_t i = 0; i < text.size();) {
            const std::size_t size = std::min<std::size_t>(text[i] == 'x' ? 200
                    : text[i] == 'a'                                      ? 2
                                                                          : 1,
                text.size() - i);
            if (text[i] != '\n') {
                encoding.ids.push_back(static_cast<unsigned char>(text[i]));
                encoding.ranges.push_back({i, i + size});
            }
            i += size;
        }
        return encoding;
    }
};

TEST_F(BenchmarkPrompts, OfANeedleHaveTheFewestCopiesOfAHaystackThatMerges)
{
    const PairTokenizer pairs;
    const OfficialDecoder decoder(pairs, folder_.path());
    SampleRequest request;
    request.benchmark = "needle";
    request.variant = "kvpress"; // keeps the tokens as they are
    request.question = "Where?";
    request.needle = "!";
    request.lengths = {1000};
    request.depths = {100};
    request.records = {write("a.txt", "a")};
    const Sample one = make_samples(request, decoder).at(0);
    const auto range = std::ranges::find(one.ranges, "context", &TextRange::name);
    EXPECT_EQ(range->bytes.end - range->bytes.begin, 850u) << "849 tokens and the needle";
    for (const char* text : {"x", "\n"}) {
        request.records = {write("x.txt", text)};
        EXPECT_THAT([&] { make_samples(request, decoder); },
            ThrowsMessage<Error>("--records " + (folder_ / "x.txt").string()
                + ": expected texts whose copies have 1000 tokens (--lengths) in 64000 bytes, found fewer"));
    }
}

/// A chat template that says the text twice.
class EchoTokenizer : public ByteTokenizer
{
public:
    std::string apply_chat_template(const std::vector<ChatMessage>& messages) const override
    {
        return messages.front().content + "|" + messages.front().content;
    }
};

TEST_F(BenchmarkPrompts, OfATemplateThatRepeatsTheTextAreRefusedAsCaptureRefusesThem)
{
    const EchoTokenizer echo;
    const OfficialDecoder decoder(echo, folder_.path());
    const SampleEncoder encoder(decoder, folder_.path(), {}, {});
    Sample sample = samples("longbench", "h.jsonl", hotpot).at(0);
    EXPECT_THAT([&] { encoder.encode(sample); },
        ThrowsMessage<Error>(
            HasSubstr("h.jsonl: line 1: span context: expected its text as it is, and once, in what")));
    sample = samples("longbench", "h.jsonl", hotpot, "kvpress").at(0);
    EXPECT_THAT([&] { encoder.encode(sample); },
        ThrowsMessage<Error>(HasSubstr("and once, found one that changes or repeats it")));
}

TEST_F(BenchmarkPrompts, NameFileAndLineOfWhatDoesNotFit)
{
    EXPECT_EQ(refusal("longbench", "r.jsonl", ""), "r.jsonl: is empty");
    EXPECT_EQ(refusal("longbench", "r.jsonl", "\n \n"), "r.jsonl: expected a record a line, found none");
    EXPECT_EQ(refusal("longbench", "r.jsonl", std::string(hotpot) + "\nonce"),
        "r.jsonl: line 2: expected a JSON object, found something else at byte 1");
    EXPECT_EQ(refusal("longbench", "r.jsonl", R"({"input": )" + std::string(200'000, '[')),
        "r.jsonl: line 1: JSON nested deeper than 200 levels");
    EXPECT_EQ(refusal("longbench", "r.jsonl", R"({"input": NaN})"),
        "r.jsonl: line 1: expected a JSON object, found NaN at byte 11, a number that JSON does not have");
    EXPECT_EQ(refusal("longbench", "r.jsonl", R"({"input": "a", "outputs": ["b"]})"),
        "r.jsonl: line 1: expected the key dataset, found the keys input, outputs");
    EXPECT_THAT(refusal("longbench", "r.jsonl", R"({"dataset": "mine"})"),
        HasSubstr("line 1: dataset: expected one of LongBench's (narrativeqa,"));
    EXPECT_EQ(refusal("longbench", "r.jsonl", R"({"dataset": "qasper", "input": "a", "context": "b", "answers": []})"),
        "r.jsonl: line 1: answers: expected a list of at least one string, found []");
    EXPECT_EQ(refusal("infinitebench", "passkey.jsonl", R"({"context": "b", "input": "a"})"),
        "passkey.jsonl: line 1: expected the key answer, found the keys context, input");
    EXPECT_EQ(refusal("passkey", "p.jsonl", R"({"input": "a", "target": "9"})"),
        "p.jsonl: line 1: target: expected a pass key that stands in input, found \"9\"");
}

TEST_F(BenchmarkPrompts, ThatAreTooLongAreRefused)
{
    Sample sample;
    sample.where = "r.jsonl: line 4";
    sample.text = "0123456789";
    sample.cut = Cut::halves;
    EXPECT_THAT([&] { encode(sample, {}, 10); },
        ThrowsMessage<TooLong>("r.jsonl: line 4: expected at most the model's context of 10 tokens, found a prompt of "
                               "11 tokens: --max-length cuts it"));
    EXPECT_EQ(encode(sample, 10, 10).ids.size(), 10u) << "the token in front and 9 characters";
    sample.cut = Cut::none;
    EXPECT_THAT([&] { encode(sample, 10); },
        ThrowsMessage<TooLong>("r.jsonl: line 4: expected at most --max-length 10, found a prompt of 11 tokens: this "
                               "benchmark's prompts are never cut"));
}

TEST_F(BenchmarkPrompts, MayComePacked)
{
    const auto file = folder_ / "r.jsonl.gz";
    const gzFile stream = gzopen(file.c_str(), "wb");
    gzputs(stream, (std::string(hotpot) + "\n").c_str());
    gzclose(stream);
    EXPECT_EQ(read_records(file).size(), 1u);
    std::filesystem::resize_file(file, std::filesystem::file_size(file) - 9);
    EXPECT_THAT([&] { read_records(file); },
        ThrowsMessage<Error>(HasSubstr("r.jsonl.gz: cannot be read: the gzipped file ends early")));
}

TEST_F(BenchmarkPrompts, AreReadByCapture)
{
    BenchmarkCommand command;
    command.request.benchmark = "longbench";
    command.request.records = {write("t.jsonl", trec)};
    command.model = std::filesystem::path(LAVA_SOURCE_DIR) / "models" / "stories260K";
    command.output = folder_ / "prompts.jsonl";
    command.max_length = 100;
    make_benchmark_prompts(command);
    const auto jobs = read_jobs(command.output);
    ASSERT_EQ(jobs.size(), 1u);
    EXPECT_EQ(jobs[0].id, "trec-0000");
    const auto prompt = build_prompt(nullptr, jobs[0].request);
    EXPECT_EQ(prompt.spans.at(0).name, "context");
    const auto scoring = nlohmann::json::parse(prompt.tokenization).at("scoring");
    EXPECT_EQ(scoring.at("variant"), "official");
    EXPECT_EQ(scoring.at("answers"), nlohmann::json::array({"Place"}));
    EXPECT_EQ(scoring.at("all_classes").size(), 2u);
    EXPECT_EQ(scoring.at("max_new_tokens"), 64);
    EXPECT_EQ(scoring.at("metric"), "classification");
    EXPECT_EQ(scoring.at("stop").at("eos"), true);
    EXPECT_EQ(scoring.at("record"), nlohmann::json({{"file", "t.jsonl"}, {"line", 1}}));

    std::filesystem::remove(command.output);
    command.request.records.push_back(write("bad.jsonl", "{}"));
    EXPECT_THROW(make_benchmark_prompts(command), Error);
    EXPECT_FALSE(std::filesystem::exists(command.output)) << "nothing is written by halves";
}

TEST(BenchmarkRequest, NamesWhatDoesNotGoTogether)
{
    SampleRequest request;
    request.records = {"r.jsonl"};
    request.benchmark = "longbrench";
    EXPECT_THAT(
        [&] { check_request(request); }, ThrowsMessage<UsageError>(HasSubstr("--benchmark: expected longbench,")));
    request.benchmark = "passkey";
    request.variant = "kvpress";
    EXPECT_THAT([&] { check_request(request); },
        ThrowsMessage<UsageError>("--variant kvpress: kvpress has no form of passkey"));
    request.variant = "official";
    request.gold_index = 1;
    EXPECT_THAT([&] { check_request(request); }, ThrowsMessage<UsageError>(HasSubstr("only kv-retrieval has one")));
    request.gold_index.reset();
    request.benchmark = "needle";
    EXPECT_THAT([&] { check_request(request); }, ThrowsMessage<UsageError>(HasSubstr("expected --lengths")));
    request.lengths = {100, 200, 100};
    EXPECT_THAT([&] { check_request(request); },
        ThrowsMessage<UsageError>("--lengths: expected numbers that differ, to six digits, found 100 twice"));
    request.lengths = {100};
    request.depths = {33, 33.0000001};
    EXPECT_THAT([&] { check_request(request); },
        ThrowsMessage<UsageError>("--depths: expected numbers that differ, to six digits, found 33 twice"));
    request.depths = {-0.0};
    EXPECT_THAT([&] { check_request(request); }, ThrowsMessage<UsageError>("--depths: expected 0 to 100, found -0"));
}

} // namespace
} // namespace lava
