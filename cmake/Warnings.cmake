# Every target of ours links lava_warnings; nobody else's headers are judged by it.
add_library(lava_warnings INTERFACE)
target_compile_options(lava_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(lava_warnings INTERFACE -Wno-restrict) # GCC bug 105651: a false alarm at "text" + std::string
endif()
if(LAVA_WERROR)
    target_compile_options(lava_warnings INTERFACE -Werror)
endif()
