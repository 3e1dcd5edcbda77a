# Headers that most sources read are parsed once, not in each: ATen alone costs 7 s a file. lava_precompiled(TARGET KIND) lets the
# target share one of these sets; what a source names beyond them it includes itself, and -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON
# builds without.
#   plain       the standard library and JSON        torch       the same and ATen
#   gui         the same and Qt Widgets and Charts
#   plain_test, torch_test, gui_test                 the same and GoogleTest
set(lava_plain_headers
    <algorithm> <array> <charconv> <cmath> <cstdint> <cstring> <filesystem> <fstream> <functional> <iostream> <map> <memory>
    <optional> <set> <span> <sstream> <string> <string_view> <unordered_map> <utility> <vector> <nlohmann/json.hpp>)
set(lava_torch_headers ${lava_plain_headers} <ATen/ATen.h>)
set(lava_gui_headers ${lava_plain_headers} <QtWidgets/QtWidgets> <QtCharts/QtCharts>)
set(lava_test_headers <gmock/gmock.h> <gtest/gtest.h>)

# One library for each set: its only source is empty, what counts are the headers and the options that they are parsed with.
function(lava_precompiled_set kind headers)
    set(holder lava_${kind}_headers)
    file(CONFIGURE OUTPUT ${holder}.cpp CONTENT "" @ONLY)
    add_library(${holder} STATIC EXCLUDE_FROM_ALL ${CMAKE_CURRENT_BINARY_DIR}/${holder}.cpp)
    target_link_libraries(${holder} PRIVATE ${ARGN} lava_warnings nlohmann_json::nlohmann_json)
    target_precompile_headers(${holder} PRIVATE ${headers})
endfunction()

function(lava_precompiled target kind)
    target_precompile_headers(${target} REUSE_FROM lava_${kind}_headers)
endfunction()

# lava_not_hot(TARGET...): programs and libraries that wait for others to compute; optimising them costs a fifth of their compilation.
function(lava_not_hot)
    foreach(target ${ARGN})
        target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
    endforeach()
endfunction()
