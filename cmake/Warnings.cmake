# Every target of ours links lava_warnings; nobody else's headers are judged by it.
add_library(lava_warnings INTERFACE)
target_compile_options(lava_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
if(LAVA_WERROR)
    target_compile_options(lava_warnings INTERFACE -Werror)
endif()
