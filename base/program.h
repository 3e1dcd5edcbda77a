#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace lava {

/// Runs a program's body and turns what it throws into one line on stderr ("NAME: MESSAGE") and an exit status:
/// UsageError 2, anything else 1. A stdout that could not be written (full disk, closed pipe) is a failure too.
int run_program(std::string_view name, const std::function<int()>& body);

/// A progress line on stderr, only where stderr is a terminal; cleared when destroyed.
class Progress
{
public:
    Progress(std::string_view what, long total);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    void step(); ///< one more of `total`; may be called from any thread

private:
    struct State;
    State* state_;
};

/// `text` from a file as it may be printed: control characters, which a terminal would obey, as '?'.
std::string printable(std::string_view text);

/// Version of the toolkit: "0.1.0".
std::string_view version();

} // namespace lava
