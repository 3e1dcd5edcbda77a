# Defines the target lava::torch from the folder that find_libtorch.cmake finds.
# The libraries are linked directly, not through find_package(Torch): the CPU half of a wheel needs neither a CUDA toolkit
# nor the CUDA libraries, and another LibTorch in /usr/lib must not be picked up instead.
set(LAVA_TORCH_DIR "" CACHE PATH "Folder of LibTorch: the one that holds include/ and lib/")
include(${CMAKE_CURRENT_LIST_DIR}/find_libtorch.cmake)
if(NOT lava_torch_folder)
    message(FATAL_ERROR "LibTorch not found: run `./lava setup`, or give CMAKE_PREFIX_PATH, -DTorch_DIR=... or -DLAVA_TORCH_DIR=<site-packages>/torch")
endif()
set(LAVA_TORCH_DIR "${lava_torch_folder}" CACHE PATH "" FORCE)

# The loader's word, since a wheel may carry libtorch_cuda.so without the libraries that it needs.
function(lava_loads library result)
    execute_process(COMMAND ldd "${library}" OUTPUT_VARIABLE needed ERROR_QUIET RESULT_VARIABLE status)
    if(status EQUAL 0 AND NOT needed MATCHES "not found")
        set(${result} ON PARENT_SCOPE)
    else()
        set(${result} OFF PARENT_SCOPE)
    endif()
endfunction()

lava_loads("${LAVA_TORCH_DIR}/lib/libtorch_cpu.so" lava_torch_cpu_loads)
if(NOT lava_torch_cpu_loads)
    message(FATAL_ERROR "LibTorch: ${LAVA_TORCH_DIR}/lib/libtorch_cpu.so does not load (`ldd` names what it lacks; for a PyPI wheel: nvidia-cuda-runtime and nvidia-cuda-cupti)")
endif()

add_library(lava_torch INTERFACE)
add_library(lava::torch ALIAS lava_torch)
target_include_directories(lava_torch SYSTEM INTERFACE
    "${LAVA_TORCH_DIR}/include" "${LAVA_TORCH_DIR}/include/torch/csrc/api/include")
target_link_options(lava_torch INTERFACE -Wl,--allow-shlib-undefined) # libtorch_cpu finds its CUDA runtime by its RUNPATH
# libsentencepiece (Debian 12's 0.1.97) and libc10 both export FLAGS_minloglevel, 32 bytes of the one and 4 of the other, and the loader
# gives both the first that it meets. Were that c10's, sentencepiece would write over the flag behind it as well, and an allocation that
# fails would end the program in abort() instead of an exception. So sentencepiece comes first.
find_package(PkgConfig REQUIRED)
pkg_check_modules(SentencePiece REQUIRED IMPORTED_TARGET GLOBAL sentencepiece)
list(GET SentencePiece_LINK_LIBRARIES 0 lava_sentencepiece)
target_link_libraries(lava_torch INTERFACE "-Wl,--push-state,--no-as-needed,${lava_sentencepiece},--pop-state"
    "${LAVA_TORCH_DIR}/lib/libtorch_cpu.so" "${LAVA_TORCH_DIR}/lib/libc10.so")

set(lava_torch_devices "CPU")
if(EXISTS "${LAVA_TORCH_DIR}/lib/libtorch_cuda.so")
    lava_loads("${LAVA_TORCH_DIR}/lib/libtorch_cuda.so" lava_torch_cuda_loads)
    if(lava_torch_cuda_loads)
        # Kept although no symbol of it is named: loading it is what makes --device cuda work.
        target_link_libraries(lava_torch INTERFACE
            "-Wl,--no-as-needed,${LAVA_TORCH_DIR}/lib/libtorch_cuda.so,--as-needed" "${LAVA_TORCH_DIR}/lib/libc10_cuda.so")
        set(lava_torch_devices "CPU and CUDA")
    endif()
endif()
# Installed programs find LibTorch where it is; named, since CMake drops what lies in the source tree, as build/torch does.
set(CMAKE_INSTALL_RPATH "${LAVA_TORCH_DIR}/lib")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
message(STATUS "LibTorch: ${LAVA_TORCH_DIR} (${lava_torch_devices})")
