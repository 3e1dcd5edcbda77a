# Where LibTorch is. Sets `lava_torch_folder` (the folder that holds include/ and lib/), empty where there is none.
# Taken in this order:
#   1. -DTorch_DIR=..., or a TorchConfig.cmake under CMAKE_PREFIX_PATH (variables, or the environment);
#   2. -DLAVA_TORCH_DIR=<site-packages>/torch, which also remembers what an earlier run found;
#   3. the torch of the python3 on PATH; 4. the virtual environment that `./lava setup` makes (build/torch).
# Also a script: `cmake [-DLAVA_TORCH_DIR=...] -P cmake/find_libtorch.cmake` prints the folder; `./lava setup` asks it so.
# What the user names and cannot be linked is an error; the python3 of the machine is passed over in that case.

# `reason`: empty where `folder` can be linked, else a half sentence that says why not.
function(lava_judge_libtorch folder reason)
    set(${reason} "" PARENT_SCOPE)
    foreach(file lib/libc10.so lib/libtorch_cpu.so include/ATen/ATen.h)
        if(NOT EXISTS "${folder}/${file}")
            set(${reason} "${folder}/${file} is missing" PARENT_SCOPE)
            return()
        endif()
    endforeach()
    set(config "${folder}/share/cmake/Torch/TorchConfig.cmake")
    if(EXISTS "${config}")
        file(STRINGS "${config}" old_abi REGEX "_GLIBCXX_USE_CXX11_ABI=0")
        if(old_abi)
            set(${reason} "${folder} was built with the C++ ABI of before GCC 5 (wheels before 2.7 are)" PARENT_SCOPE)
        endif()
    endif()
endfunction()

# TorchConfig.cmake stands in share/cmake/Torch of the folder we look for. It is not run: it would insist on a CUDA
# toolkit, add eleven GPU architectures and ask for a CUDA20 that CMake 3.25 does not know.
function(lava_named_libtorch folder)
    set(${folder} "" PARENT_SCOPE)
    set(configs)
    foreach(value "${Torch_DIR}" "$ENV{Torch_DIR}")
        if(value)
            list(APPEND configs "${value}")
        endif()
    endforeach()
    string(REPLACE ":" ";" from_environment "$ENV{CMAKE_PREFIX_PATH}")
    foreach(prefix ${CMAKE_PREFIX_PATH} ${from_environment})
        foreach(suffix share/cmake/Torch Torch)
            if(EXISTS "${prefix}/${suffix}/TorchConfig.cmake")
                list(APPEND configs "${prefix}/${suffix}")
            endif()
        endforeach()
    endforeach()
    if(configs)
        list(GET configs 0 config)
        get_filename_component(parent "${config}/../../.." ABSOLUTE)
        set(${folder} "${parent}" PARENT_SCOPE)
    elseif(LAVA_TORCH_DIR)
        set(${folder} "${LAVA_TORCH_DIR}" PARENT_SCOPE)
    endif()
endfunction()

function(lava_found_libtorch folder)
    execute_process(
        COMMAND python3 -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE of_python OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    get_filename_component(root "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/.." ABSOLUTE)
    file(GLOB of_setup "${root}/build/torch/lib/python3*/site-packages/torch")
    set(${folder} "" PARENT_SCOPE)
    foreach(candidate ${of_python} ${of_setup})
        lava_judge_libtorch("${candidate}" reason)
        if(NOT reason)
            set(${folder} "${candidate}" PARENT_SCOPE)
            return()
        endif()
        message(STATUS "LibTorch: passed over: ${reason}")
    endforeach()
endfunction()

lava_named_libtorch(lava_torch_folder)
if(lava_torch_folder)
    lava_judge_libtorch("${lava_torch_folder}" lava_torch_reason)
    if(lava_torch_reason)
        message(FATAL_ERROR "LibTorch: ${lava_torch_reason}; see -DTorch_DIR, CMAKE_PREFIX_PATH and -DLAVA_TORCH_DIR")
    endif()
else()
    lava_found_libtorch(lava_torch_folder)
endif()
if(CMAKE_SCRIPT_MODE_FILE)
    execute_process(COMMAND ${CMAKE_COMMAND} -E echo "${lava_torch_folder}") # message() would go to stderr
endif()
