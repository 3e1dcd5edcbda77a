# Defines the target lava::torch. Taken in this order:
#   1. the user's LibTorch: -DTorch_DIR=..., or CMAKE_PREFIX_PATH with a TorchConfig.cmake in it;
#   2. -DLAVA_TORCH_DIR=<site-packages>/torch: the folder of a PyPI wheel, whose CPU half is linked directly;
#   3. the torch of the python3 on PATH; 4. the virtual environment that `./lava setup` makes (build/torch).
# The CPU half of a wheel needs neither a CUDA toolkit nor the CUDA libraries, which find_package(Torch) insists on.
set(LAVA_TORCH_DIR "" CACHE PATH "Folder of a PyPI torch package (the one that holds include/ and lib/)")

function(lava_import_torch_wheel folder)
    foreach(library c10 torch_cpu)
        if(NOT EXISTS "${folder}/lib/lib${library}.so")
            message(FATAL_ERROR "LAVA_TORCH_DIR: ${folder}/lib/lib${library}.so is missing; expected the folder of a PyPI torch package")
        endif()
    endforeach()
    add_library(lava_torch_c10 SHARED IMPORTED)
    set_target_properties(lava_torch_c10 PROPERTIES IMPORTED_LOCATION "${folder}/lib/libc10.so")
    add_library(lava_torch SHARED IMPORTED GLOBAL)
    set_target_properties(lava_torch PROPERTIES
        IMPORTED_LOCATION "${folder}/lib/libtorch_cpu.so"
        INTERFACE_INCLUDE_DIRECTORIES "${folder}/include;${folder}/include/torch/csrc/api/include"
        INTERFACE_LINK_LIBRARIES lava_torch_c10
        INTERFACE_LINK_OPTIONS "-Wl,--allow-shlib-undefined") # libtorch_cpu's own CUDA runtime is found by its RUNPATH
    add_library(lava::torch ALIAS lava_torch)
    if(EXISTS "${folder}/lib/libtorch_cuda.so" AND EXISTS "${folder}/lib/libc10_cuda.so")
        # A full wheel: keep the CUDA half loaded although no symbol of it is named, so that --device cuda works.
        add_library(lava_torch_c10_cuda SHARED IMPORTED)
        set_target_properties(lava_torch_c10_cuda PROPERTIES IMPORTED_LOCATION "${folder}/lib/libc10_cuda.so")
        target_link_libraries(lava_torch INTERFACE lava_torch_c10_cuda)
        set(LAVA_TORCH_CUDA_LIBRARY "${folder}/lib/libtorch_cuda.so" PARENT_SCOPE)
    endif()
endfunction()

function(lava_find_torch_wheel result)
    set(${result} "" PARENT_SCOPE)
    if(LAVA_TORCH_DIR)
        set(${result} "${LAVA_TORCH_DIR}" PARENT_SCOPE)
        return()
    endif()
    execute_process(
        COMMAND python3 -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
        OUTPUT_VARIABLE folder OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
    if(NOT folder)
        file(GLOB candidates "${PROJECT_SOURCE_DIR}/build/torch/lib/python3*/site-packages/torch")
        list(LENGTH candidates count)
        if(count GREATER 0)
            list(GET candidates 0 folder)
        endif()
    endif()
    if(folder AND EXISTS "${folder}/lib/libtorch_cpu.so")
        set(${result} "${folder}" PARENT_SCOPE)
    endif()
endfunction()

set(lava_own_torch OFF)
if(Torch_DIR)
    set(lava_own_torch ON)
elseif(CMAKE_PREFIX_PATH)
    find_file(LAVA_TORCH_CONFIG TorchConfig.cmake PATHS ${CMAKE_PREFIX_PATH} PATH_SUFFIXES share/cmake/Torch Torch NO_DEFAULT_PATH)
    if(LAVA_TORCH_CONFIG)
        set(lava_own_torch ON)
    endif()
endif()

if(lava_own_torch)
    find_package(Torch REQUIRED)
    add_library(lava_torch INTERFACE)
    target_link_libraries(lava_torch INTERFACE ${TORCH_LIBRARIES})
    target_include_directories(lava_torch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
    add_library(lava::torch ALIAS lava_torch)
    message(STATUS "LibTorch: ${Torch_DIR}")
else()
    lava_find_torch_wheel(lava_wheel)
    if(NOT lava_wheel)
        message(FATAL_ERROR "LibTorch not found: run `./lava setup`, or give -DTorch_DIR=..., CMAKE_PREFIX_PATH or -DLAVA_TORCH_DIR=<site-packages>/torch")
    endif()
    lava_import_torch_wheel("${lava_wheel}")
    message(STATUS "LibTorch: ${lava_wheel}")
endif()
