# Every target of ours links lava_warnings; nobody else's headers are judged by it.
add_library(lava_warnings INTERFACE)
target_compile_options(lava_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC bug 105651: false alarms at "text" + std::string; a precompiled header loses the mark that would silence the others
    target_compile_options(lava_warnings INTERFACE
        -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds)
endif()
if(LAVA_UNITY) # a source's local names may be another's helpers, and its types are in no header
    target_compile_options(lava_warnings INTERFACE -Wno-shadow)
    if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
        target_compile_options(lava_warnings INTERFACE -Wno-subobject-linkage)
    endif()
endif()
if(LAVA_WERROR)
    target_compile_options(lava_warnings INTERFACE -Werror)
endif()
