# cmake -DNM=nm -DLIBRARY=libophis.so -DHEADER=ophis.h -DLIST=symbols.txt -P check_symbols.cmake: what the library
# exports, and what the header declares, is the list.
cmake_minimum_required(VERSION 3.25)
execute_process(COMMAND ${NM} -D --defined-only ${LIBRARY} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
string(REGEX REPLACE "[^\n]* ([^ \n]+)\n" "\\1;" exported "${symbols}")
list(FILTER exported EXCLUDE REGEX "^$")
file(STRINGS ${HEADER} declared REGEX "^OPHIS_API ")
list(TRANSFORM declared REPLACE "^[^(]* \\*?(ophis_[a-z0-9_]+)\\(.*$" "\\1")
file(STRINGS ${LIST} listed)

# is_list(WHAT NAME...): the names are those of the list.
function(is_list what)
  set(new ${ARGN})
  list(REMOVE_ITEM new ${listed})
  set(missing ${listed})
  list(REMOVE_ITEM missing ${ARGN})
  if(new OR missing)
    message(FATAL_ERROR "${what} has what ${LIST} does not list: '${new}'; and lacks of it: '${missing}'")
  endif()
endfunction()

is_list(${LIBRARY} ${exported})
is_list(${HEADER} ${declared})
list(LENGTH listed count)
message(STATUS "${count} functions, as listed")
