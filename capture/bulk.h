#pragma once

#include "capture/options.h"

namespace lava {

/// Captures every prompt of options.prompts_file into the folder options.output, which is made where it is not there: a
/// trace each, named after its id, and index.json, written anew after each trace. A trace that is there already, of
/// the same prompt, model and options, is kept if it verifies: a run that was interrupted goes on when its command is
/// given again. Another trace of the same id is made again, with a note that says why.
void capture_all(const CaptureOptions& options);

} // namespace lava
