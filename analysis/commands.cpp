#include "analysis/commands.h"

namespace lava {

namespace {

std::vector<CommandInfo> make_commands()
{
    return {
        {"table", Command::table, "policies and budgets compared", {"pivot"},
            "lava-analyze table report.h5 --pivot attn_out_l1_relative"},
        {"layers", Command::layers, "retained entries and losses of every layer", {"layer"},
            "lava-analyze layers report.h5 --policy lava --budget 10% --layer 0-3"},
        {"heads", Command::heads, "losses of every query head", {"layer"},
            "lava-analyze heads report.h5 --policy lava --budget 128 --layer -1"},
        {"budgets", Command::budgets, "retained entries of every KV head", {"layer"},
            "lava-analyze budgets report.h5 --policy lava --budget 128 --format csv"},
        {"map", Command::map, "percent of the prompt that every KV head keeps, layers down and heads across", {"layer"},
            "lava-analyze map report.h5 --policy lava --budget 10% --match retained"},
        {"bounds", Command::bounds, "attention output loss against its upper bounds", {"by", "layer"},
            "lava-analyze bounds report.h5 --budget 128 --by layer"},
        {"spans", Command::spans, "what became of each marked span", {"by", "layer"},
            "lava-analyze spans report.h5 --policy lava --budget 128 --by head --layer 8-11,20"},
        {"gain", Command::gain, "how much less loss one policy leaves than another, nominal and at equal retention",
            {"by", "layer"},
            "lava-analyze gain reports/*.h5 --policy ada-snapkv --policy lava --budget 10% --layer 0-29"},
        {"summary", Command::summary, "many prompts in one table: loss, KL and exact answers by kept share",
            {"by", "baseline"}, "lava-analyze summary reports/*.h5 --match retained --baseline snapkv"},
        {"answers", Command::answers, "what the model says from what is retained (lava-replay --closed-loop --free)",
            {}, "lava-analyze answers closed.h5 --budget 10% --match retained"},
        {"retained", Command::retained, "positions that one policy keeps at one budget", {},
            "lava-analyze retained report.h5 --policy lava --budget 128 --format json"},
        {"curves", Command::curves, "the division over heads that loses least, for lu-kv's file of curves", {"output"},
            "lava-analyze curves report.h5 --policy snapkv -o curves.npy"},
        {"plot", Command::plot, "charts as PNG and SVG, drawn by lava-gui", {"output"},
            "lava-analyze plot report.h5 -o charts"},
        {"columns", Command::columns, "what the columns of all tables, or of those named, mean", {},
            "lava-analyze columns table gain --format markdown"},
    };
}

} // namespace

std::span<const CommandInfo> commands()
{
    static const std::vector<CommandInfo> list = make_commands();
    return list;
}

} // namespace lava
