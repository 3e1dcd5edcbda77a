#pragma once

// Everything of a trace that is not a tensor: versions, model, run, tokens, spans.

#include "base/hdf5/h5.h"
#include "traces/trace_info.h"

namespace lava {

/// Throws Error, naming `file`, where sizes are absurd or contradict each other or the tokens and spans.
void check_metadata(const TraceInfo& info, const std::string& file);

/// Reads and checks all but the has_* and store_type fields, which depend on the layers.
TraceInfo read_metadata(const h5::Group& root);

/// All but the tokens and spans.
void write_metadata(const h5::Group& root, const TraceInfo& info);

/// Tokens and spans, which may be known only at the end of a run.
void write_tokens(const h5::Group& root, const TraceInfo& info);

/// Throws Error unless the root says format = `format` with a major version that this build can read.
void check_format(const h5::Group& root, const std::string& format);

/// Marks a file as `format` of this build's version.
void write_format(const h5::Group& root, const std::string& format);

} // namespace lava
