# cmake -DPROGRAM=ophis -DMODEL=FOLDER -DEXAMPLE=COMMAND -P compare_with_program.cmake: EXAMPLE FOLDER PROMPT NEW_TOKENS
# prints what `ophis generate` does.
set(prompt "KING HENRY V\t")
execute_process(COMMAND ${PROGRAM} generate --model ${MODEL} --prompt ${prompt} --max-new-tokens 40
                OUTPUT_VARIABLE wanted ERROR_QUIET COMMAND_ERROR_IS_FATAL ANY)
execute_process(COMMAND ${EXAMPLE} ${MODEL} ${prompt} 40 OUTPUT_VARIABLE got COMMAND_ERROR_IS_FATAL ANY)
# The program ends its output with a line break only where the text does not.
string(STRIP "${wanted}" wanted)
string(STRIP "${got}" got)
if(NOT got STREQUAL wanted)
  message(FATAL_ERROR "it prints:\n${got}\nbut `ophis generate`:\n${wanted}")
endif()
message(STATUS "as `ophis generate`:\n${got}")
