#include "capture/benchmarks/infinitebench_tasks.h"

#include <array>

namespace lava {

namespace {

// the texts are InfiniteBench's and kvpress's own (LICENSES.md)
constexpr auto all_infinitebench_tasks = std::to_array<InfiniteBenchTask>({
    {"passkey",
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. I will quiz you "
        "about the important information.\n\n{context}\n\n{input}\n\nThe pass key is",
        6,
        "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. I will quiz you "
        "about the important information there.\n\n{context}\n\n",
        "{input}", "The pass key is:"},
    {"number_string",
        "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz you about the "
        "important information there.\n\n{context}\n\n{input}\n\nThe sequence of digits is",
        12,
        "There is an important info hidden inside a lot of irrelevant text. Find it. I will quiz you about the "
        "important information there.\n\n{context}\n\n",
        "{input}", "The sequence of digits is"},
    {"kv_retrieval",
        "Extract the value corresponding to the specified key in the JSON object below.\n\n{context}\n\n{input}", 50,
        "Extract the value corresponding to the specified key in the JSON object below.\n\n{context}\n\n", "{input}",
        "The value associated with the specified key is"},
    {"longbook_sum_eng", "Summarize the book below.\n\n{context}\n\nSummary:", 1200,
        "Summarize the book below:\n\n{context}\n\n", "{input}", "Summary:"},
    {"longbook_choice_eng",
        "Read the book and answer the question.\n\n{context}\n\nQuestion: {question}\nA. {OPTION_A}\nB. {OPTION_B}\nC. "
        "{OPTION_C}\nD. {OPTION_D}\n\nThe letter of the correct answer is",
        40, "Read the book and answer the question.\n\n{context}\n\n",
        "{input}\n\nOnly one of the following options is correct, tell me the answer using one single letter (A, B, C, "
        "or D). Don't say anything else.\nA. {OPTION_A}\nB. {OPTION_B}\nC. {OPTION_C}\nD. {OPTION_D}",
        "The letter of the correct answer is"},
    {"longbook_qa_eng",
        "Read the book and answer the question. Be very concise in your answer.\n\n{context}\n\nQuestion: "
        "{question}\nAnswer:",
        40, "Read the book below and answer a question. Be very concise in your answer.\n\n{context}\n\n", "{input}",
        "Answer:"},
    {"longbook_qa_chn", "阅读以下书籍然后回答问题。\n\n{context}\n\n问题：{question}\n答案：", 40,
        "请根据以下书籍回答我的问题。\n\n{context}\n\n", "{input}", "答案："},
    {"math_find", "{prefix}\n\n{context}\n\n{input}", 3, "{prefix}\n\n{context}\n\n{input}\n\n", "{input}", ""},
    {"math_calc",
        "Let us calculate the intermediate values of an expression.\n\nExpression: 1 + 3 + 4\nValues: [1, 4, "
        "8]\n\nExpression: 8 - 3 + 2 - 4\nValues: [8, 5, 7, 3]\n\nExpression: {context}\nValues:",
        30000,
        "Let us calculate the intermediate values of an expression.\n\nExpression: 1 + 3 + 4\nValues: [1, 4, "
        "8]\n\nExpression: 8 - 3 + 2 - 4\nValues: [8, 5, 7, 3]\n\nExpression: {context}\n\n",
        "{input}", "Values:"},
    {"code_run",
        "There is a function called {func} in the following Python code.\n\n{context}\n\nPlease compute the exact "
        "value of {func_call}. The value of {func_call} is",
        5, "There is a function called {func} in the following Python code.\n\n{context}\n\n", "{input}",
        "The return value is:"},
    {"code_debug",
        "Following is a Python code where exactly one of the functions/methods has a deliberate error that makes it "
        "crash.\n\n{context}\n\nOptions:\nA. {OPTION_A}\nB. {OPTION_B}\nC. {OPTION_C}\nD. {OPTION_D}\n\nThe correct "
        "option is:",
        5,
        "Following is a Python code where exactly one of the functions/methods has a deliberate error that makes it "
        "crash.\n\n{context}\n\n",
        "{input}\n\nOptions:\nA. {OPTION_A}\nB. {OPTION_B}\nC. {OPTION_C}\nD. {OPTION_D}", "The correct option is:"},
    {"longdialogue_qa_eng",
        "Below is a dialogue script where one random occurrence of a character name is replaced with \"$$MASK$$\", and "
        "you should try to guess who that character is.\n\n{context}\n\nThe name that has been replaced with $$MASK$$ "
        "is likely",
        40,
        "Below is a dialogue script where one random occurrence of a character name is replaced with \"$$MASK$$\", and "
        "you should try to guess who that character is.\n\n{context}\n\n",
        "{input}", "The name that has been replaced with $$MASK$$ is likely"},
});

} // namespace

std::span<const InfiniteBenchTask> infinitebench_tasks()
{
    return all_infinitebench_tasks;
}

} // namespace lava
