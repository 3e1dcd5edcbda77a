# `cpack -G DEB` in the build folder makes a Debian package. What it depends on dpkg-shlibdeps finds; LibTorch is no Debian package's
# and stays where the programs were linked with it.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_VENDOR "lava")
set(CPACK_PACKAGE_CONTACT "lava's developers <lava@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "${PROJECT_DESCRIPTION}")
set(CPACK_PACKAGE_DESCRIPTION "Programs that record what a language model attends to, replay eviction policies of its KV cache over the
recording, and show what each keeps and what that costs.")
if(LAVA_WITH_LIBTORCH)
    string(APPEND CPACK_PACKAGE_DESCRIPTION "\n\nLibTorch is not part of this package, nor of Debian. All programs but lava-analyze and lava-gui load the
one that they were built with, by their RUNPATH:
${LAVA_TORCH_DIR}/lib
Where it lies elsewhere, LD_LIBRARY_PATH names its lib folder; it must be of the same version.")
endif()
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "python3-h5py, python3-numpy")
include(CPack)
