#pragma once

#include <stdexcept>

namespace lava {

/// Something the user can mend: one sentence naming file, dataset or option, expected and found. Exit status 1.
class Error : public std::runtime_error
{
public:
    using std::runtime_error::runtime_error;
};

/// The command line itself is wrong. Exit status 2.
class UsageError : public std::runtime_error
{
public:
    using std::runtime_error::runtime_error;
};

} // namespace lava
