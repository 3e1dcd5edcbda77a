#include "base/error.h"
#include "base/program.h"
#include "tests/analysis/example_report.h"

#include <string_view>

int main(int argc, char** argv)
{
    return lava::run_program("write_example_report", [&] {
        const bool without_losses = argc == 3 && std::string_view(argv[1]) == "--without-losses";
        if (argc != (without_losses ? 3 : 2) || std::string_view(argv[argc - 1]).starts_with("-"))
            throw lava::UsageError("usage: write_example_report [--without-losses] FILE");
        lava::write_report(
            argv[argc - 1], without_losses ? lava::example_report_without_losses() : lava::example_report());
        return 0;
    });
}
