# Manual pages and completions for bash and zsh, written from the programs' own --help when they are built, so that they say the same.
# lava_help(PROGRAM...) writes them into <build>/help and installs them; without a Python there are none.
set(LAVA_HELP_DIR ${CMAKE_CURRENT_LIST_DIR}/help)

function(lava_help)
    find_package(Python3 COMPONENTS Interpreter QUIET)
    if(NOT Python3_Interpreter_FOUND OR CMAKE_CROSSCOMPILING)
        message(STATUS "Manual pages and completions: left out, no python3 can run the programs here")
        return()
    endif()
    set(folder ${PROJECT_BINARY_DIR}/help)
    set(files)
    foreach(program ${ARGN})
        list(APPEND files $<TARGET_FILE:${program}>)
    endforeach()
    file(GLOB scripts CONFIGURE_DEPENDS ${LAVA_HELP_DIR}/*.py)
    add_custom_command(OUTPUT ${folder}/written
        COMMAND ${CMAKE_COMMAND} -E rm -rf ${folder}
        COMMAND ${Python3_EXECUTABLE} -B ${LAVA_HELP_DIR}/write_help.py ${folder} ${files}
        COMMAND ${CMAKE_COMMAND} -E touch ${folder}/written
        DEPENDS ${ARGN} ${scripts} COMMENT "Writing manual pages and completions" VERBATIM)
    add_custom_target(help_files ALL DEPENDS ${folder}/written)
    install(DIRECTORY ${folder}/man/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})
    install(DIRECTORY ${folder}/bash-completion ${folder}/zsh DESTINATION ${CMAKE_INSTALL_DATADIR})
endfunction()
