# Kernels for --device cuda: LAVA_WITH_CUDA, on where a CUDA compiler works. They need no LibTorch and link the CUDA
# runtime statically, so that programs built with them also start where there is no GPU.
find_program(LAVA_NVCC nvcc HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
if(LAVA_NVCC AND NOT DEFINED ENV{CUDACXX})
    set(ENV{CUDACXX} "${LAVA_NVCC}")
endif()
if(NOT DEFINED LAVA_WITH_CUDA OR LAVA_WITH_CUDA)
    include(CheckLanguage)
    check_language(CUDA) # compiles something, since an nvcc may not know the C++ compiler that is there
endif()
set(lava_cuda_default OFF)
if(CMAKE_CUDA_COMPILER AND NOT LAVA_FUZZ) # nvcc does not know the fuzzers' flags
    set(lava_cuda_default ON)
endif()
option(LAVA_WITH_CUDA "Build the CUDA kernels of compute/cuda, needs nvcc" ${lava_cuda_default})

if(LAVA_WITH_CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
        message(FATAL_ERROR "LAVA_WITH_CUDA: no CUDA compiler works; name one with -DCMAKE_CUDA_COMPILER=<nvcc>, or build with -DLAVA_WITH_CUDA=OFF")
    endif()
    if(NOT CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
        set(CMAKE_CUDA_ARCHITECTURES 80-real 90) # A100, H100, and PTX for what comes after them
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_STANDARD_REQUIRED ON)
    set(CMAKE_CUDA_EXTENSIONS OFF)
    message(STATUS "CUDA: ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}, architectures ${CMAKE_CUDA_ARCHITECTURES}")
endif()

# A library of kernels. Its headers are plain C++; its warnings are those that nvcc's own output survives.
function(lava_cuda_library name)
    add_library(${name} STATIC ${ARGN})
    target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
    target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=-Wall,-Wextra>)
    if(LAVA_WERROR)
        target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:-Werror=all-warnings>)
    endif()
    set_target_properties(${name} PROPERTIES CUDA_RUNTIME_LIBRARY Static)
endfunction()
